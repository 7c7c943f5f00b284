//! Data of a finished run. report.json has the same types, except for the trace.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use taskgraph::Trace;

/// A finished run: the only input of all reports.
#[derive(Clone, Debug)]
pub struct Report {
    /// Options and result.
    pub run: Run,
    /// Machine on which it ran.
    pub machine: Machine,
    /// Trace of its tasks.
    pub trace: Trace,
    /// Kind and log of each task, by name.
    pub tasks: BTreeMap<String, TaskInfo>,
    /// Scenarios in the order in which they finished.
    pub tests: Vec<Scenario>,
    /// Failed tasks, first failure first.
    pub failures: Vec<Failure>,
    /// CPU and memory of the machine during the run, in order of time.
    pub samples: Vec<Sample>,
    /// Earlier runs on this machine, oldest first; see [`earlier_runs`](crate::earlier_runs).
    pub earlier: Vec<EarlierRun>,
}

/// Options and result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Run {
    /// Id of the run, the name of its folder.
    pub id: String,
    /// Name of the stack.
    pub stack: String,
    /// Provider: `kind`, `local`, `cluster`.
    pub provider: String,
    /// Why this provider was chosen.
    pub provider_reason: String,
    /// Order of the tasks: `graph`, `phased`, `sequential`.
    pub order: String,
    /// Shard of the scenarios, as `I/N`; absent if it ran all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// Command line, program first.
    pub command: Vec<String>,
    /// Start time in UTC (RFC 3339).
    #[cfg_attr(test, schemars(with = "String"))]
    pub started: jiff::Timestamp,
    /// Result.
    pub result: RunResult,
    /// Whether the stack is still up.
    pub kept: bool,
    /// CPU seconds of the runner itself, without its children. Absent where the system does not measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_cpu_seconds: Option<f64>,
}

impl Run {
    /// The runner's program, as its user calls it.
    pub(crate) fn program(&self) -> &'static str {
        match self.command.as_slice() {
            [cargo, xtask, ..] if cargo == "cargo" && xtask == "xtask" => "cargo xtask",
            _ => "xtask",
        }
    }
}

/// Result of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// All scenarios passed or were skipped with a reason.
    Passed,
    /// The stack came up, but scenarios failed.
    TestsFailed,
    /// A task other than the scenarios failed.
    Failed,
    /// A user interrupted it.
    Interrupted,
}

/// Machine of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Machine {
    /// Operating system and architecture, for example `linux x86_64`.
    pub system: String,
    /// Number of CPUs available to the run.
    pub cpus: usize,
    /// Memory in bytes of the machine, or of the control group that limits the run.
    pub memory_bytes: u64,
}

/// Data of a task that is not in the trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskInfo {
    /// Kind: `compile`, `image`, `deploy`.
    pub kind: String,
    /// Path of its log, relative to the run's folder. `None` if it has none.
    pub log: Option<String>,
}

/// A scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Scenario {
    /// Id, for example `g01`.
    pub id: String,
    /// Name, for example `g01_alert_becomes_one_request`.
    pub name: String,
    /// Outcome.
    pub outcome: ScenarioOutcome,
    /// Duration.
    pub seconds: f64,
    /// Reason, if it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Error, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Outcome of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ScenarioOutcome {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It failed, and passed when it was repeated: no proof of anything.
    Flaky,
    /// It cannot run on this stack.
    Skipped,
}

/// Failure of a task, with an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Failure {
    /// Name of the task.
    pub task: String,
    /// Error with the last lines of output: several lines of text.
    pub text: String,
}

/// Load of the machine at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sample {
    /// Seconds since the start of the run.
    pub at: f64,
    /// Busy CPUs of the whole machine since the previous sample.
    pub cpus: f64,
    /// Used memory of the whole machine in bytes.
    pub memory_bytes: u64,
}

/// An earlier run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EarlierRun {
    /// Id of the run.
    pub id: String,
    /// Start time in UTC (RFC 3339).
    #[cfg_attr(test, schemars(with = "String"))]
    pub started: jiff::Timestamp,
    /// Provider.
    pub provider: String,
    /// Order of the tasks.
    pub order: String,
    /// Result.
    pub result: RunResult,
    /// Duration.
    pub seconds: f64,
    /// Duration of each task that succeeded and was not skipped, in seconds.
    pub tasks: BTreeMap<String, f64>,
}

impl RunResult {
    /// Returns the result for titles and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::TestsFailed => "scenarios failed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

impl ScenarioOutcome {
    /// Returns the outcome for tables and counts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Flaky => "flaky",
            Self::Skipped => "skipped",
        }
    }
}

impl Report {
    /// Returns the log of a task as a relative link, percent-encoded.
    pub(crate) fn log_link(&self, task: &str) -> Option<String> {
        use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
        const PATH: &AsciiSet = &NON_ALPHANUMERIC
            .remove(b'/')
            .remove(b'-')
            .remove(b'_')
            .remove(b'.')
            .remove(b'~');
        let log = self.tasks.get(task)?.log.as_ref()?;
        Some(utf8_percent_encode(log, PATH).to_string())
    }

    pub(crate) fn kind(&self, task: &str) -> &str {
        self.tasks.get(task).map_or("", |info| &info.kind)
    }

    pub(crate) fn count(&self, outcome: ScenarioOutcome) -> usize {
        self.tests.iter().filter(|test| test.outcome == outcome).count()
    }

    /// Returns the earlier runs with the same provider and order that passed.
    pub(crate) fn comparable(&self) -> impl Iterator<Item = &EarlierRun> {
        self.earlier.iter().filter(|earlier| {
            earlier.provider == self.run.provider
                && earlier.order == self.run.order
                && earlier.result == RunResult::Passed
        })
    }
}
