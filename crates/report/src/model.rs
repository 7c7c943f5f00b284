//! What is known of a run when it is over. The same types are in report.json, except for the trace.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use taskgraph::Trace;

/// A run that is over. All that is written about it comes from here: no file is read, nothing is measured.
#[derive(Clone, Debug)]
pub struct Report {
    /// The run itself.
    pub run: Run,
    /// Where it ran.
    pub machine: Machine,
    /// What its tasks did.
    pub trace: Trace,
    /// What else is known of a task, by its name.
    pub tasks: BTreeMap<String, TaskInfo>,
    /// The scenarios in the order of their ends.
    pub tests: Vec<Scenario>,
    /// The tasks that failed, first failure first.
    pub failures: Vec<Failure>,
    /// CPU and memory of the machine during the run, in the order of time.
    pub samples: Vec<Sample>,
    /// Runs on this machine before it, oldest first: see [`earlier_runs`](crate::earlier_runs).
    pub earlier: Vec<EarlierRun>,
}

/// What was run, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Run {
    /// The run's id, the name of its folder.
    pub id: String,
    /// The stack's name.
    pub stack: String,
    /// Where the stack ran: `kind`, `local`, `cluster`.
    pub provider: String,
    /// Why there.
    pub provider_reason: String,
    /// Which edges joined the tasks: `graph`, `phased`, `sequential`.
    pub order: String,
    /// Which part of the scenarios it ran, as `I/N`; all of them without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// The command that was given, program first.
    pub command: Vec<String>,
    /// When it began, in UTC (RFC 3339).
    #[cfg_attr(test, schemars(with = "String"))]
    pub started: jiff::Timestamp,
    /// What came of it.
    pub result: RunResult,
    /// Whether the stack was left standing.
    pub kept: bool,
    /// CPU seconds that the runner itself used, its children's not among them. Absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_cpu_seconds: Option<f64>,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// All scenarios passed or were skipped with a reason.
    Passed,
    /// The stack came up; scenarios failed.
    TestsFailed,
    /// Something before or beside the scenarios failed.
    Failed,
    /// Someone ended it.
    Interrupted,
}

/// The machine of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Machine {
    /// System and processor, for example `linux x86_64`.
    pub system: String,
    /// CPUs that the run could use.
    pub cpus: usize,
    /// Memory in bytes, of the machine or of the control group that limits the run.
    pub memory_bytes: u64,
}

/// What the trace does not say of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskInfo {
    /// What it is: `compile`, `image`, `deploy`.
    pub kind: String,
    /// Its log, relative to the run's folder. `None` when it left none.
    pub log: Option<String>,
}

/// One scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Scenario {
    /// For example `g01`.
    pub id: String,
    /// For example `g01_alert_becomes_one_request`.
    pub name: String,
    /// How it ended.
    pub outcome: ScenarioOutcome,
    /// How long it took.
    pub seconds: f64,
    /// Why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How a scenario ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ScenarioOutcome {
    /// It held.
    Passed,
    /// It did not.
    Failed,
    /// It can't be tried here.
    Skipped,
}

/// A task's failure, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Failure {
    /// The task.
    pub task: String,
    /// What failed, with its last lines: several lines of text.
    pub text: String,
}

/// The machine at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sample {
    /// Seconds since the run began.
    pub at: f64,
    /// CPUs busy since the sample before, of the whole machine.
    pub cpus: f64,
    /// Memory in use in bytes, of the whole machine.
    pub memory_bytes: u64,
}

/// A run before this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EarlierRun {
    /// Its id.
    pub id: String,
    /// When it began, in UTC (RFC 3339).
    #[cfg_attr(test, schemars(with = "String"))]
    pub started: jiff::Timestamp,
    /// Where its stack ran.
    pub provider: String,
    /// Which edges joined its tasks.
    pub order: String,
    /// What came of it.
    pub result: RunResult,
    /// How long it took.
    pub seconds: f64,
    /// How long each task took that did its work (not skipped, not failed), in seconds.
    pub tasks: BTreeMap<String, f64>,
}

impl RunResult {
    /// As a sentence goes on after the run's name.
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
    /// As the counts say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl Report {
    /// The log of a task as a relative link, percent-encoded.
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

    /// Earlier runs that did the same: same provider and order, and passed.
    pub(crate) fn comparable(&self) -> impl Iterator<Item = &EarlierRun> {
        self.earlier.iter().filter(|earlier| {
            earlier.provider == self.run.provider
                && earlier.order == self.run.order
                && earlier.result == RunResult::Passed
        })
    }
}
