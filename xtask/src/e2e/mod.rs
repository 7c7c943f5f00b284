//! `cargo xtask e2e`: builds the services, brings up the stack, runs the scenarios, reports and tidies up.
//!
//! Arguments, stack file and provider make a [`plan`], plain data; `taskgraph` runs it; [`execute`] does its steps.

mod budget;
mod diagnose;
mod execute;
mod fault;
mod hash;
mod measure;
mod plan;
mod report;
mod screen;
mod settings;
mod setup;
mod shared_cluster;
mod template;
mod variables;
mod watch;

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use ::report::RunResult;
use anyhow::Context;
use clap::Args;
use taskgraph::{Graph, Interrupt, RunOptions};

pub(crate) use self::measure::CPU;
use self::{
    budget::Budget,
    execute::{Policy, World},
    plan::{Format, Plan},
    settings::{BuildOn, Order},
};
use crate::run_folder::{self, Provider, State};
use subprocess::tell;

const EXAMPLES: &str = "\
Examples:
  e2e                        everything, on kind where that works, else as processes of this machine
  e2e g01 s07                the scenarios with one of these in their name
  e2e --keep                 leave the stack standing; again: only what changed is renewed
  e2e --plan                 what would be done, and what waits for what
  e2e --stack ../shop/deploy/stack.toml
                             the stack of another repository
  e2e --provider cluster --context team --registry registry.example.com/team
                             in a namespace of its own of a cluster that is there already
  e2e --shard 1/3            a third of the scenarios; merge-reports makes one report of all three";

/// Between two looks at the machine's CPU and memory.
const SAMPLES: Duration = Duration::from_millis(500);

/// Build the stack, bring it up with all that it needs, run its scenarios, report, tidy up
///
/// The stack file says what the stack is; everything that can run at the same time does. A run leaves its report, its
/// logs and a timeline in target/e2e/RUN/ and nothing else. Exit codes: 0 all passed, 1 scenarios failed, 2 wrong
/// arguments or stack file, 3 something else failed, 130 interrupted.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// Only scenarios whose name contains one of these; `watch` as the first word keeps the stack and runs again on
    /// each save
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Where the stack runs [default: kind where it works, else local]
    #[arg(long, value_enum)]
    provider: Option<Provider>,
    /// Which edges join the tasks: for comparing
    #[arg(long, value_enum, default_value = "graph")]
    order: Order,
    /// Leave the stack standing; the same command again then changes only what changed
    #[arg(long)]
    keep: bool,
    /// Only this task and what it waits for (their names: --plan)
    #[arg(long, value_name = "TASK")]
    only: Option<String>,
    /// Print the tasks and their edges, and do nothing
    #[arg(long)]
    plan: bool,
    /// Print every command exactly as it would run, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How --plan prints, and `json` for a run's report on stdout
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where the services are compiled [default: host, and the builder image where that does not fit the images]
    #[arg(long, value_enum)]
    build: Option<BuildOn>,
    /// Run the I-th of N parts of the scenarios; `merge-reports` makes one report of them
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<String>,
    /// Scenarios at a time
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Kind's node image [default: the one that kind pins]
    #[arg(long, value_name = "IMAGE", env = "KIND_NODE_IMAGE")]
    node_image: Option<String>,
    /// The cluster of `--provider cluster`: a context of your kubeconfig, which is only read
    #[arg(long, value_name = "NAME", required_if_eq("provider", "cluster"))]
    context: Option<String>,
    /// Where `--provider cluster` pushes the images, and the cluster's nodes pull them from
    #[arg(long, value_name = "HOST/PATH", required_if_eq("provider", "cluster"))]
    registry: Option<String>,
    /// The stack file [default: deploy/stack.toml of this workspace]
    #[arg(long, value_name = "FILE", hide_default_value = true, default_value_os_t = run_folder::workspace().join("deploy/stack.toml"))]
    stack: PathBuf,
    /// Stop the runner itself at a task: kill (SIGKILL), interrupt (Ctrl-C) or leave (Ctrl-C twice), at its begin or
    /// in its middle, such as kill:middle:compile
    #[arg(
        long,
        value_name = "HOW:WHEN:TASK",
        help_heading = "For testing the runner itself"
    )]
    fault: Option<fault::Fault>,
}

pub(crate) fn run(mut options: Options) -> anyhow::Result<ExitCode> {
    options.stack = std::path::absolute(&options.stack)?;
    let here = std::env::current_dir()?;
    run_folder::enter_workspace_of(&options.stack)?;
    if options.filters.first().is_some_and(|word| word == "watch") {
        return watch::run(&here, &run_folder::workspace(), &options.stack);
    }
    let stack = match crate::stack::read(&options.stack) {
        Ok(stack) => stack,
        Err(invalid) => return Ok(usage(&invalid)),
    };
    let provider = setup::provider(&options);
    let runs = run_folder::RunFolder::list(&run_folder::runs(), &run_folder::index());
    let budget = Budget::look(provider.provider, &runs);
    if options.plan || options.dry_run {
        let settings = setup::preview(&options, stack, provider.provider)?;
        let plan = match planned(&options, &settings, &budget) {
            Ok(plan) => plan,
            Err(error) => return Ok(usage(&error)),
        };
        let text = if options.dry_run {
            plan::commands(&plan)
        } else {
            plan::show(&plan, options.format)?
        };
        std::io::stdout().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (mut folder, settings, reserved) = setup::real(&options, stack, provider.provider)?;
    let plan = match planned(&options, &settings, &budget) {
        Ok(plan) => plan,
        Err(error) => {
            folder.remove()?;
            return Ok(usage(&error));
        }
    };
    let graph = Graph::new(plan).context("the plan does not hold; this is an error of xtask")?;
    if let Some(fault) = &options.fault
        && let Err(error) = fault.check(&graph)
    {
        folder.remove()?;
        return Ok(usage(&error));
    }
    let interrupt = Interrupt::new();
    setup::on_signals(&interrupt, &folder, &settings)?;
    let mut screen = screen::Screen::new(&graph, &settings, &provider.why);
    let trigger = fault::Trigger::new(options.fault.clone(), interrupt.clone());
    let world = World::new(&settings, &folder, reserved, policy(&options), trigger)?;
    let sampler = ::report::Sampler::start(SAMPLES);
    let started = jiff::Timestamp::now();
    let run_options = RunOptions {
        interrupt: interrupt.clone(),
        ..RunOptions::default()
    };
    let run = graph.run(
        &run_options,
        |event| screen.event(event),
        |context, work| {
            let done = world.perform(context, work);
            // `into()` would hide the error's type, which tells scenarios that failed from everything else.
            done.map_err(anyhow::Error::reallocate_into_boxed_dyn_error_without_backtrace)
        },
    )?;
    let scenarios = world.into_scenarios();
    let teardown = run.trace.task("teardown").map(|task| &task.outcome);
    let kept = matches!(teardown, Some(taskgraph::Outcome::Skipped { .. }));
    // A full disk must not keep the end of the run from being told.
    let noted = if kept {
        folder.set_state(State::Kept)
    } else {
        folder.finish()
    };
    screen::scenarios(&scenarios);
    let result = report::result(&run, interrupt.is_cancelled());
    let facts = report::Facts {
        settings: &settings,
        folder: &folder,
        why: &provider.why,
        started,
        result,
        kept,
        samples: sampler.finish(),
        scenarios,
        memory: budget.in_words(),
    };
    report::write(facts, &graph, run, options.format).and(noted)?;
    Ok(exit_code(result))
}

/// `I/N` as it was given, if it is a part of a whole.
fn shard(text: &str) -> Result<String, String> {
    let parts = text.split_once('/');
    let numbers = parts.and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    match numbers {
        Some((i, n)) if (1..=n).contains(&i) => Ok(format!("{i}/{n}")),
        _ => Err("it must be I/N with I from 1 to N, as 1/3, 2/3 and 3/3".to_owned()),
    }
}

/// The plan as the arguments want it, with every template tried, so that a wrong one costs nothing.
fn planned(options: &Options, settings: &settings::Settings, budget: &Budget) -> anyhow::Result<Plan> {
    let mut plan = plan::make(settings);
    for remark in budget.apply(settings.provider, &mut plan) {
        tell(remark);
    }
    if let Some(task) = &options.only {
        plan::only(&mut plan, task)?;
    }
    setup::try_templates(settings)?;
    Ok(plan)
}

fn policy(options: &Options) -> Policy {
    match (options.keep, std::env::var_os("CI").is_some()) {
        (true, _) => Policy::Keep,
        (false, true) => Policy::Remove,
        (false, false) => Policy::KeepOnFailure,
    }
}

fn usage(error: &dyn std::fmt::Display) -> ExitCode {
    tell(format!("error: {error:#}"));
    ExitCode::from(2)
}

/// How a run with this result ends.
pub(crate) fn exit_code(result: RunResult) -> ExitCode {
    match result {
        RunResult::Passed => ExitCode::SUCCESS,
        RunResult::TestsFailed => ExitCode::FAILURE,
        RunResult::Failed => ExitCode::from(3),
        RunResult::Interrupted => ExitCode::from(130),
    }
}
