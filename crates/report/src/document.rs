//! report.json: the report for programs. docs/report.md explains it; docs/report.schema.json is derived from these types.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use taskgraph::{Cause, Edge, Held, Outcome, TaskTrace, Through};

use crate::analysis::Analysis;
use crate::model::{EarlierRun, Failure, Machine, Report, Run, Sample, Scenario};

/// Version of the format; increased when older readers would misread the file.
const VERSION: u32 = 1;

/// Content of report.json. All times are seconds; `at`, `from`, `to`, `ready`, `start` and `end` count from the start of
/// the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "report.json"))]
pub struct Document {
    /// Version of the format: 1. It is increased when older readers would misread the file.
    pub version: u32,
    /// Options and result of the run.
    pub run: Run,
    /// Machine on which it ran.
    pub machine: Machine,
    /// Time from the start to the end of the last task.
    pub seconds: f64,
    /// Capacity of each resource.
    pub resources: BTreeMap<String, u64>,
    /// Tasks in the order of the plan.
    pub tasks: Vec<DocumentTask>,
    /// Bounding chain: the tasks that determined the duration of the run. Its links have no gaps, so their costs add up
    /// to the duration.
    pub bounding_chain: Vec<Link>,
    /// Longest chain of measured durations along the edges alone: the minimum duration with unlimited resources.
    pub longest_chain: Vec<Cost>,
    /// Forecast for a run in which the most expensive link of the bounding chain takes no time. Absent if a task did not
    /// start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_longest_were_free: Option<IfFree>,
    /// Scenarios in the order in which they finished.
    pub tests: Vec<Scenario>,
    /// Failed tasks, first failure first.
    pub failures: Vec<Failure>,
    /// Load of the machine during the run.
    pub samples: Vec<Sample>,
    /// Earlier runs on this machine, oldest first.
    pub earlier: Vec<EarlierRun>,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DocumentTask {
    /// Name, unique in the run.
    pub name: String,
    /// Kind: `compile`, `image`, `deploy`.
    pub kind: String,
    /// Edges: tasks and milestones that it waits for.
    pub after: Vec<DocumentEdge>,
    /// Resources that it holds while it runs.
    pub needs: BTreeMap<String, u64>,
    /// Expected duration.
    pub estimate: f64,
    /// Whether it runs at the end even after a failure.
    pub always: bool,
    /// Time at which all its edges were satisfied.
    pub ready: Option<f64>,
    /// Start.
    pub start: Option<f64>,
    /// End, or the time at which it was certain that it would not start.
    pub end: f64,
    /// Edge that was satisfied last, at `ready`.
    pub released_by: Option<DocumentEdge>,
    /// Resources that it waited for from `ready` to `start`.
    pub held: Option<DocumentWait>,
    /// Times of its milestones.
    pub milestones: BTreeMap<String, f64>,
    /// Outcome.
    pub outcome: DocumentOutcome,
    /// Notes.
    pub notes: Vec<String>,
    /// Measurements, with the unit in the name.
    pub measured: BTreeMap<String, f64>,
    /// Slack: how much longer it could have taken without delaying the run. Only for tasks that started.
    pub slack: Option<f64>,
    /// Whether it is part of the bounding chain.
    pub critical: bool,
    /// Path of its log, relative to the run's folder.
    pub log: Option<String>,
}

/// The end of a task, or a milestone within it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DocumentEdge {
    /// Name of the task.
    pub task: String,
    /// Name of the milestone; absent for the end of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milestone: Option<String>,
}

/// Wait of a ready task for resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DocumentWait {
    /// Resources without enough free capacity. Empty: no thread was free.
    pub resources: Vec<String>,
    /// Task whose end released them.
    pub freed_by: Option<String>,
}

/// Outcome of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DocumentOutcome {
    /// It succeeded.
    Done {
        /// Note of the task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// It had nothing to do.
    Skipped {
        /// Reason.
        reason: String,
    },
    /// It failed.
    Failed {
        /// Error with its causes.
        error: String,
        /// Whether it panicked, which is a bug in the runner.
        panicked: bool,
    },
    /// It was cancelled while it ran.
    Cancelled {
        /// Cause as text.
        cause: String,
        /// Failed task that is the cause; none if a user interrupted the run.
        because_of: Option<String>,
        /// Error with which it ended.
        detail: Option<String>,
    },
    /// It did not start.
    NotStarted {
        /// Cause as text.
        cause: String,
        /// Failed task that is the cause; none if a user interrupted the run.
        because_of: Option<String>,
    },
}

/// A link of the bounding chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Link {
    /// Name of the task.
    pub task: String,
    /// Time at which the previous link released it.
    pub from: f64,
    /// Time at which it released the next link.
    pub to: f64,
    /// Time that it added to the run: `to` minus `from`.
    pub cost: f64,
    /// How the previous link released it.
    pub through: DocumentThrough,
}

/// How a link of a chain released the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DocumentThrough {
    /// There is no previous link.
    Beginning,
    /// By its end or by a milestone.
    Edge {
        /// Edge that was satisfied.
        edge: DocumentEdge,
    },
    /// By releasing resources.
    Resource {
        /// Resources.
        resources: Vec<String>,
        /// Task that held them.
        freed_by: String,
    },
}

/// Cost of a task in a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cost {
    /// Name of the task.
    pub task: String,
    /// Time that it adds.
    pub cost: f64,
}

/// Forecast for a run in which a task takes no time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IfFree {
    /// Name of the task.
    pub task: String,
    /// Its cost in the bounding chain.
    pub cost: f64,
    /// Forecast duration of the run.
    pub seconds: f64,
}

impl Document {
    /// Returns the content of report.json for a run.
    pub fn new(report: &Report) -> Self {
        let analysis = Analysis::new(&report.trace);
        let tasks = report
            .trace
            .tasks
            .iter()
            .map(|task| document_task(report, &analysis, task));
        let link = |link: &taskgraph::ChainLink| Link {
            task: link.task.clone(),
            from: seconds(link.from),
            to: seconds(link.to),
            cost: seconds(link.cost()),
            through: (&link.through).into(),
        };
        let cost = |(task, cost): &(String, Duration)| Cost {
            task: task.clone(),
            cost: seconds(*cost),
        };
        let if_free = analysis.if_free.as_ref();
        Self {
            version: VERSION,
            run: report.run.clone(),
            machine: report.machine.clone(),
            seconds: seconds(report.trace.wall),
            resources: report.trace.resources.clone(),
            tasks: tasks.collect(),
            bounding_chain: analysis.bounding.iter().map(link).collect(),
            longest_chain: analysis.longest.iter().map(cost).collect(),
            if_longest_were_free: if_free.map(|free| IfFree {
                task: free.task.clone(),
                cost: seconds(free.cost),
                seconds: seconds(free.wall),
            }),
            tests: report.tests.clone(),
            failures: report.failures.clone(),
            samples: report.samples.clone(),
            earlier: report.earlier.clone(),
        }
    }

    /// Returns the data that reports of later runs contain.
    fn summary(self) -> EarlierRun {
        let is_done = |task: &DocumentTask| matches!(task.outcome, DocumentOutcome::Done { .. });
        let duration = |task: DocumentTask| Some((task.name, task.end - task.start?));
        EarlierRun {
            id: self.run.id,
            started: self.run.started,
            provider: self.run.provider,
            order: self.run.order,
            result: self.run.result,
            seconds: self.seconds,
            tasks: self
                .tasks
                .into_iter()
                .filter(is_done)
                .filter_map(duration)
                .collect(),
        }
    }
}

/// Returns the newest `limit` runs in the folder of runs, oldest first, without the run `own` and without folders that
/// have no readable report (a killed run, another version).
pub fn earlier_runs(runs: &Path, own: &str, limit: usize) -> Vec<EarlierRun> {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    let mut found: Vec<EarlierRun> = entries
        .filter(|entry| entry.file_name() != own)
        .filter_map(|entry| read(&entry.path().join(crate::FILES.report)))
        .collect();
    found.sort_by(|one, other| (one.started, &one.id).cmp(&(other.started, &other.id)));
    let surplus = found.len().saturating_sub(limit);
    found.split_off(surplus)
}

fn read(path: &Path) -> Option<EarlierRun> {
    let document: Document = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (document.version == VERSION).then(|| document.summary())
}

fn document_task(report: &Report, analysis: &Analysis, task: &TaskTrace) -> DocumentTask {
    DocumentTask {
        name: task.name.clone(),
        kind: report.kind(&task.name).to_owned(),
        after: task.after.iter().map(DocumentEdge::from).collect(),
        needs: task.needs.clone(),
        estimate: seconds(task.estimate),
        always: task.always,
        ready: task.ready.map(seconds),
        start: task.start.map(seconds),
        end: seconds(task.end),
        released_by: task.released_by.as_ref().map(DocumentEdge::from),
        held: task.held.as_ref().map(|held| DocumentWait {
            resources: held.resources.clone(),
            freed_by: held.freed_by.clone(),
        }),
        milestones: task
            .milestones
            .iter()
            .map(|(name, at)| (name.clone(), seconds(*at)))
            .collect(),
        outcome: (&task.outcome).into(),
        notes: task.notes.clone(),
        measured: task.measured.clone(),
        slack: analysis.slack.get(&task.name).copied().map(seconds),
        critical: analysis.is_critical(&task.name),
        log: report.tasks.get(&task.name).and_then(|info| info.log.clone()),
    }
}

/// Rounds to microseconds, which keeps the file short.
fn seconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}

impl From<&Edge> for DocumentEdge {
    fn from(edge: &Edge) -> Self {
        Self {
            task: edge.task.clone(),
            milestone: edge.milestone.clone(),
        }
    }
}

impl From<&Through> for DocumentThrough {
    fn from(through: &Through) -> Self {
        match through {
            Through::Beginning => Self::Beginning,
            Through::Edge { edge } => Self::Edge { edge: edge.into() },
            Through::Resource { resources, freed_by } => Self::Resource {
                resources: resources.clone(),
                freed_by: freed_by.clone(),
            },
        }
    }
}

impl From<&Outcome> for DocumentOutcome {
    fn from(outcome: &Outcome) -> Self {
        match outcome.clone() {
            Outcome::Done { note } => Self::Done { note },
            Outcome::Skipped { reason } => Self::Skipped { reason },
            Outcome::Failed { error, panicked } => Self::Failed { error, panicked },
            Outcome::Cancelled { cause, detail } => Self::Cancelled {
                cause: cause.to_string(),
                because_of: because_of(cause),
                detail,
            },
            Outcome::NotStarted { cause } => Self::NotStarted {
                cause: cause.to_string(),
                because_of: because_of(cause),
            },
        }
    }
}

fn because_of(cause: Cause) -> Option<String> {
    match cause {
        Cause::Needs { task } | Cause::Stopped { task } => Some(task),
        Cause::Interrupted { .. } => None,
    }
}

impl DocumentTask {
    /// Converts the task back to its trace, `later` on the clock and with `rename` applied to names of tasks and
    /// resources. Times that are negative or not finite become zero.
    pub fn into_trace(self, later: Duration, rename: impl Fn(&str) -> String) -> TaskTrace {
        let at = |seconds: f64| later + Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let edge = |edge: DocumentEdge| Edge {
            task: rename(&edge.task),
            milestone: edge.milestone,
        };
        TaskTrace {
            name: rename(&self.name),
            after: self.after.into_iter().map(edge).collect(),
            needs: self
                .needs
                .iter()
                .map(|(name, count)| (rename(name), *count))
                .collect(),
            estimate: Duration::try_from_secs_f64(self.estimate).unwrap_or_default(),
            always: self.always,
            ready: self.ready.map(at),
            start: self.start.map(at),
            end: at(self.end),
            released_by: self.released_by.map(edge),
            held: self.held.map(|held| Held {
                resources: held.resources.iter().map(|name| rename(name)).collect(),
                freed_by: held.freed_by.map(|name| rename(&name)),
            }),
            milestones: self
                .milestones
                .into_iter()
                .map(|(name, seconds)| (name, at(seconds)))
                .collect(),
            outcome: outcome(self.outcome, &rename),
            notes: self.notes,
            measured: self.measured,
        }
    }
}

/// Converts an outcome back; a task that stopped because of another one counts as one that needs it.
fn outcome(outcome: DocumentOutcome, rename: &impl Fn(&str) -> String) -> Outcome {
    let cause = |words: String, because_of: Option<String>| match because_of {
        Some(task) => Cause::Needs { task: rename(&task) },
        None => Cause::Interrupted {
            reason: words.trim_start_matches("interrupted: ").to_owned(),
        },
    };
    match outcome {
        DocumentOutcome::Done { note } => Outcome::Done { note },
        DocumentOutcome::Skipped { reason } => Outcome::Skipped { reason },
        DocumentOutcome::Failed { error, panicked } => Outcome::Failed { error, panicked },
        DocumentOutcome::Cancelled {
            cause: words,
            because_of,
            detail,
        } => Outcome::Cancelled {
            cause: cause(words, because_of),
            detail,
        },
        DocumentOutcome::NotStarted {
            cause: words,
            because_of,
        } => Outcome::NotStarted {
            cause: cause(words, because_of),
        },
    }
}
