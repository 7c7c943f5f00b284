//! `cargo xtask e2e`: builds the services, starts the stack, runs the scenarios, reports and cleans up.
//!
//! Arguments, stack file and provider make a [`plan`], plain data; `taskgraph` schedules it; [`mod@execute`] runs it.

mod budget;
mod diagnose;
mod execute;
mod fault;
mod hash;
mod measure;
mod plan;
mod provider;
mod report;
mod rounds;
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

use self::{
    budget::Budget,
    execute::{Policy, RunContext},
    plan::{Format, Plan},
    settings::{BuildOn, Order},
    setup::NewRun,
};
use crate::run_folder::{self, ProviderName, RunFolder, State};
use subprocess::eprint_line;

const EXAMPLES: &str = "\
Examples:
  e2e                        all scenarios, on kind if available, else as processes of this machine
  e2e g01 s07                the scenarios whose name contains one of these
  e2e --keep                 keep the stack; the next run with --keep deploys only changes
  e2e --plan                 print the tasks and their dependencies
  e2e --stack ../shop/deploy/stack.toml
                             the stack of another repository
  e2e --provider cluster --context team --registry registry.example.com/team
                             in a namespace of its own in an existing cluster
  e2e --shard 1/3            a third of the scenarios; merge-reports merges the reports of all three";

/// Interval between two samples of the machine's CPU and memory.
const SAMPLES: Duration = Duration::from_millis(500);

/// Build the stack, start it, run its scenarios, report and clean up
///
/// The stack file defines the stack; independent tasks run in parallel. A run leaves its report, logs and timeline in
/// target/e2e/RUN/ and nothing else. Exit codes: 0 all passed, 1 scenarios failed, 2 invalid arguments or stack file,
/// 3 other failure, 130 interrupted.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// Run only scenarios whose name contains one of these; `watch` as the first word keeps the stack and runs again on
    /// each save
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Where to run the stack [default: kind if available, else local]
    #[arg(long, value_enum)]
    provider: Option<ProviderName>,
    /// Order of the tasks, for comparison
    #[arg(long, value_enum, default_value = "graph")]
    order: Order,
    /// Keep the stack; the next run with --keep deploys only changes
    #[arg(long)]
    keep: bool,
    /// Run only this task and its dependencies (--plan lists the names)
    #[arg(long, value_name = "TASK")]
    only: Option<String>,
    /// Print the tasks and their dependencies, and exit
    #[arg(long)]
    plan: bool,
    /// Print every command exactly as it would run, and exit
    #[arg(long)]
    dry_run: bool,
    /// Format of --plan; for a run, `json` prints the report on stdout
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where to compile the services [default: host, or the builder image if the images have an older glibc]
    #[arg(long, value_enum)]
    build: Option<BuildOn>,
    /// Run the I-th of N shards of the scenarios; `merge-reports` merges their reports
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<String>,
    /// Maximum number of scenarios that run at the same time
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    #[command(flatten)]
    rounds: rounds::Again,
    /// Node image of kind [default: the one that kind pins]
    #[arg(long, value_name = "IMAGE", env = "KIND_NODE_IMAGE")]
    node_image: Option<String>,
    /// Cluster of `--provider cluster`: a context of your kubeconfig, which is only read
    #[arg(long, value_name = "NAME", required_if_eq("provider", "cluster"))]
    context: Option<String>,
    /// Registry for `--provider cluster`: the run pushes its images, and the cluster's nodes pull them
    #[arg(long, value_name = "HOST/PATH", required_if_eq("provider", "cluster"))]
    registry: Option<String>,
    /// Stack file [default: the nearest deploy/stack.toml, in the current folder or above]
    #[arg(long, value_name = "FILE")]
    stack: Option<PathBuf>,
    /// Stop the runner itself at a task: kill (SIGKILL), interrupt (Ctrl-C) or leave (Ctrl-C twice), at the task's begin
    /// or middle, such as kill:middle:compile
    #[arg(
        long,
        value_name = "HOW:WHEN:TASK",
        help_heading = "For testing the runner itself"
    )]
    fault: Option<fault::Fault>,
}

pub(crate) fn run(mut options: Options) -> anyhow::Result<ExitCode> {
    let file = match run_folder::stack_file(options.stack.as_deref()) {
        Ok(file) => file,
        Err(error) => return Ok(usage(&error)),
    };
    let here = std::env::current_dir()?;
    run_folder::enter_workspace_of(&file)?;
    if options.filters.first().is_some_and(|word| word == "watch") {
        return watch::run(&here, &run_folder::workspace(), &file);
    }
    let stack = match crate::stack::read(&file) {
        Ok(stack) => stack,
        Err(invalid) => return Ok(usage(&invalid)),
    };
    if let Some(run) = &options.rounds.failed {
        match rounds::failed(run, &stack.stack.name) {
            Ok(failed) => options.filters.extend(failed),
            Err(error) => return Ok(usage(&error)),
        }
    }
    for service in stack.without_health() {
        eprint_line(format!(
            "warning: {service} has no port named `health`: the run neither waits until it is ready, nor distinguishes its \
             old version from the new one"
        ));
    }
    let choice = setup::provider(&options);
    let runs = RunFolder::list(&run_folder::runs(), &run_folder::index());
    let budget = Budget::measure(choice.provider, &runs);
    if options.plan || options.dry_run {
        let settings = setup::preview(&options, stack, choice.provider)?;
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
    let new = setup::real(&options, stack, choice.provider)?;
    match planned(&options, &new.settings, &budget) {
        Ok(plan) => execute(&options, new, plan, &choice.reason, &budget),
        Err(error) => {
            if !new.is_reused {
                new.folder.remove()?;
            }
            Ok(usage(&error))
        }
    }
}

fn execute(
    options: &Options,
    NewRun {
        mut folder,
        settings,
        reserved,
        is_reused,
    }: NewRun,
    plan: Plan,
    reason: &str,
    budget: &Budget,
) -> anyhow::Result<ExitCode> {
    let graph = Graph::new(plan).context("invalid plan (bug in xtask)")?;
    let interrupt = Interrupt::new();
    setup::on_signals(&interrupt, &folder, &settings)?;
    let mut screen = screen::Screen::new(&graph, &settings, reason);
    let trigger = fault::Trigger::new(options.fault.clone(), interrupt.clone());
    let steps = RunContext::new(&settings, &folder, reserved, policy(options, is_reused), trigger)?;
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
            let ended = steps.perform(context, work);
            // `into()` would hide the error's type, which distinguishes failed scenarios from other failures.
            ended.map_err(anyhow::Error::reallocate_into_boxed_dyn_error_without_backtrace)
        },
    )?;
    let scenarios = steps.into_scenarios();
    let teardown = run.trace.task("teardown").map(|task| &task.outcome);
    let kept = matches!(teardown, Some(taskgraph::Outcome::Skipped { .. }));
    // Returned after the report: a full disk must not prevent it.
    let noted = if kept {
        folder.set_state(State::Kept)
    } else {
        folder.finish()
    };
    let result = report::result(&run, interrupt.is_cancelled());
    let facts = report::Facts {
        settings: &settings,
        folder: &folder,
        reason,
        started,
        result,
        kept,
        samples: sampler.finish(),
        scenarios,
        memory: budget.description(),
    };
    report::write(facts, &graph, run, options.format).and(noted)?;
    Ok(exit_code(result))
}

/// Parses `I/N`.
fn shard(text: &str) -> Result<String, String> {
    let parts = text.split_once('/');
    let numbers = parts.and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    match numbers {
        Some((i, n)) if (1..=n).contains(&i) => Ok(format!("{i}/{n}")),
        _ => Err("expected I/N with I from 1 to N, such as 1/3".to_owned()),
    }
}

/// Returns the plan for the arguments, after rendering every template, so that an invalid one fails before the run.
fn planned(options: &Options, settings: &settings::Settings, budget: &Budget) -> anyhow::Result<Plan> {
    let mut plan = plan::make(settings);
    for warning in budget.apply(settings.provider.name(), &mut plan) {
        eprint_line(warning);
    }
    if let Some(task) = &options.only {
        plan::only(&mut plan, task)?;
    }
    if let Some(fault) = &options.fault {
        fault.check(&plan)?;
    }
    setup::try_templates(settings)?;
    Ok(plan)
}

fn policy(options: &Options, is_reused: bool) -> Policy {
    let in_ci = std::env::var_os("CI").is_some();
    match (is_reused, options.keep) {
        (true, _) => Policy::KeepReused,
        (false, true) => Policy::Keep,
        (false, false) if in_ci => Policy::Remove,
        (false, false) => Policy::KeepOnFailure,
    }
}

fn usage(error: &dyn std::fmt::Display) -> ExitCode {
    eprint_line(format!("error: {error:#}"));
    ExitCode::from(2)
}

/// Returns the exit code of a run with this result.
pub(crate) fn exit_code(result: RunResult) -> ExitCode {
    match result {
        RunResult::Passed => ExitCode::SUCCESS,
        RunResult::TestsFailed => ExitCode::FAILURE,
        RunResult::Failed => ExitCode::from(3),
        RunResult::Interrupted => ExitCode::from(130),
    }
}
