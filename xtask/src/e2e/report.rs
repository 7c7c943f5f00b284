//! The report of a finished run.

use std::{collections::BTreeMap, io::Write as _, path::Path};

use report::{Failure, Machine, Report, RunResult, Scenario, ScenarioOutcome, TaskInfo};
use taskgraph::{Graph, Outcome};

use super::{
    diagnose,
    execute::ScenariosFailed,
    measure,
    plan::{Format, TaskKind, Work},
    settings::Settings,
};
use crate::run_folder::{self, RunFolder};
use subprocess::eprint_line;

/// Maximum number of earlier runs that the report compares with.
const EARLIER: usize = 20;

/// Returns the result of a run.
pub(super) fn result(run: &taskgraph::Run, interrupted: bool) -> RunResult {
    let only_scenarios = |failure: &taskgraph::Failure| failure.error.is::<ScenariosFailed>();
    if interrupted {
        RunResult::Interrupted
    } else if run.failures.is_empty() && run.trace.is_success() {
        RunResult::Passed
    } else if run.failures.iter().all(only_scenarios) {
        RunResult::TestsFailed
    } else {
        RunResult::Failed
    }
}

/// Facts about a run that are not in its trace.
pub(super) struct Facts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) folder: &'a RunFolder,
    pub(super) reason: &'a str,
    pub(super) started: jiff::Timestamp,
    pub(super) result: RunResult,
    pub(super) kept: bool,
    pub(super) samples: Vec<report::Sample>,
    pub(super) scenarios: Vec<Scenario>,
    /// Memory that was available when the run started, for people.
    pub(super) memory: Option<String>,
}

/// Writes the report's files and prints the summary.
pub(super) fn write(
    facts: Facts<'_>,
    graph: &Graph<Work>,
    run: taskgraph::Run,
    format: Format,
) -> anyhow::Result<()> {
    let folder = facts.folder.path().to_path_buf();
    let report = assemble(facts, graph, run);
    let written = report::write_all(&report, &folder);
    eprint_line(report::summary(&report).trim_end());
    eprint_line(format!("report: {}", folder.join(report::FILES.page).display()));
    if format == Format::Json {
        let json = std::fs::read(folder.join(report::FILES.report))?;
        std::io::stdout().write_all(&json)?;
    }
    written
}

fn assemble(facts: Facts<'_>, graph: &Graph<Work>, run: taskgraph::Run) -> Report {
    let Facts {
        settings,
        folder,
        reason,
        started,
        result,
        kept,
        samples,
        scenarios,
        memory,
    } = facts;
    let known = diagnose::Facts {
        settings,
        folder,
        trace: &run.trace,
        memory: memory.as_deref(),
    };
    let failures = run
        .failures
        .iter()
        .map(|failure| explained(&failure.task, &scenarios, &known, kept))
        .collect();
    Report {
        run: report::Run {
            id: settings.run.clone(),
            stack: settings.stack.stack.name.clone(),
            provider: settings.provider.name().to_string(),
            provider_reason: reason.to_owned(),
            order: settings.order.to_string(),
            shard: settings.shard.clone(),
            command: crate::command_line(),
            started,
            result,
            kept,
            runner_cpu_seconds: measure::own_cpu().map(|cpu| cpu.as_secs_f64()),
        },
        machine: Machine::this(),
        tasks: tasks(graph, folder),
        tests: scenarios,
        failures,
        samples,
        earlier: report::earlier_runs(&run_folder::runs(), &settings.run, EARLIER),
        trace: run.trace,
    }
}

fn tasks(graph: &Graph<Work>, folder: &RunFolder) -> BTreeMap<String, TaskInfo> {
    let info = |task: &taskgraph::Task<Work>| {
        let log = folder.log(&task.name);
        let relative = log.strip_prefix(folder.path()).ok().filter(|_| log.exists());
        let log = relative.map(|path: &Path| path.display().to_string());
        (
            task.name.clone(),
            TaskInfo {
                kind: task.action.kind.word().to_owned(),
                log,
            },
        )
    };
    graph.plan().tasks.iter().map(info).collect()
}

/// Number of bytes at the end of a log that are searched for the cause.
const SEARCHED: usize = 64 * 1024;

/// Returns a failure with its explanation, if the catalogue has one, and the command that repeats the task.
fn explained(task: &str, scenarios: &[Scenario], known: &diagnose::Facts<'_>, kept: bool) -> Failure {
    let mut text = match known.trace.task(task).map(|task| &task.outcome) {
        Some(Outcome::Failed { error, .. }) => error.clone(),
        other => format!("{other:?}"),
    };
    let log = std::fs::read(known.folder.log(task)).unwrap_or_default();
    // The log of a kept stack has several rounds.
    let log = String::from_utf8_lossy(&log[log.len().saturating_sub(SEARCHED)..]);
    let log = log.rfind("\n$ ").map_or(&*log, |start| &log[start..]);
    let mut texts = BTreeMap::from([("log", log.to_owned())]);
    if task == "test" {
        let failed = scenarios.iter().filter_map(|scenario| scenario.detail.clone());
        texts.insert("scenarios", failed.collect::<Vec<_>>().join("\n"));
    }
    let case = diagnose::Case {
        task,
        role: known.settings.stack.role(task),
        error: &text,
        texts,
    };
    let explanation = diagnose::explain(&case, known).unwrap_or_default();
    text.push_str(&explanation);
    let only = if task == "test" {
        let failed = scenarios
            .iter()
            .filter(|scenario| scenario.outcome == ScenarioOutcome::Failed);
        let mut only: Vec<&str> = failed.map(|scenario| scenario.id.as_str()).collect();
        if only.is_empty() {
            only.extend(known.settings.filters.iter().map(String::as_str));
        }
        only.iter().map(|filter| format!(" {filter}")).collect()
    } else {
        format!(" --only {task}")
    };
    let provider = known.settings.provider.arguments();
    let stack = known.settings.stack_argument.iter();
    let stack: String = stack.map(|file| format!(" --stack {}", file.display())).collect();
    let keep = if kept { " --keep" } else { "" };
    let program = crate::called_as();
    text = format!("{text}\n  repeat only this: {program} e2e {provider}{stack}{only}{keep}");
    Failure {
        task: task.to_owned(),
        text,
    }
}

impl TaskKind {
    /// Name in reports.
    fn word(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Check => "check",
            Self::Compile => "compile",
            Self::Pull => "pull",
            Self::Cluster => "cluster",
            Self::Image => "image",
            Self::Load => "load",
            Self::Deploy => "deploy",
            Self::Test => "test",
            Self::Collect => "collect",
            Self::Teardown => "teardown",
        }
    }
}
