//! report.json: the run for programs. docs/report.md explains it, docs/report.schema.json is derived from here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use taskgraph::{Cause, Edge, Outcome, TaskTrace, Through};

use crate::analysis::Analysis;
use crate::model::{EarlierRun, Failure, Machine, Report, Run, Sample, Scenario};

/// Raised when a reader of an older form would misread the file.
const VERSION: u32 = 1;

/// A run as report.json has it. All times are seconds; those called `at`, `from`, `to`, `ready`, `start` and `end`
/// count from the beginning of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "report.json"))]
pub struct Document {
    /// The form of this file: 1. A greater number means that older readers would misread it.
    pub version: u32,
    /// What was run, and what came of it.
    pub run: Run,
    /// Where.
    pub machine: Machine,
    /// From the beginning to the end of the last task.
    pub seconds: f64,
    /// Capacity of each resource that tasks hold.
    pub resources: BTreeMap<String, u64>,
    /// The tasks in the order of the plan.
    pub tasks: Vec<DocumentTask>,
    /// The chain that bounded the run. Its links follow each other without a gap, so their costs add up to the run.
    pub bounding_chain: Vec<Link>,
    /// The longest chain of measured durations along the edges alone: no machine makes the run shorter.
    pub longest_chain: Vec<Cost>,
    /// What the run would have taken if the most expensive link of the bounding chain took no time. Absent when a
    /// task never started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_longest_were_free: Option<IfFree>,
    /// The scenarios in the order of their ends.
    pub tests: Vec<Scenario>,
    /// The failed tasks, first failure first.
    pub failures: Vec<Failure>,
    /// The machine during the run.
    pub samples: Vec<Sample>,
    /// Runs on this machine before it, oldest first.
    pub earlier: Vec<EarlierRun>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DocumentTask {
    /// Its name, unique in the run.
    pub name: String,
    /// What it is: `compile`, `image`, `deploy`.
    pub kind: String,
    /// What it waits for.
    pub after: Vec<DocumentEdge>,
    /// What it holds while it runs.
    pub needs: BTreeMap<String, u64>,
    /// Expected duration.
    pub estimate: f64,
    /// Whether it runs at the end whatever happened.
    pub always: bool,
    /// When all that it waited for had happened.
    pub ready: Option<f64>,
    /// When it started.
    pub start: Option<f64>,
    /// When it ended, or when it was settled that it would not start.
    pub end: f64,
    /// What it waited for last, until `ready`.
    pub released_by: Option<DocumentEdge>,
    /// What it waited for from `ready` to `start`.
    pub held: Option<DocumentWait>,
    /// When it reached its milestones.
    pub milestones: BTreeMap<String, f64>,
    /// How it ended.
    pub outcome: DocumentOutcome,
    /// Its remarks.
    pub notes: Vec<String>,
    /// Its figures, with the unit in the name.
    pub measured: BTreeMap<String, f64>,
    /// How much longer it could have taken without the run taking longer. Only of tasks that started.
    pub slack: Option<f64>,
    /// Whether it is a link of the bounding chain.
    pub critical: bool,
    /// Its log, relative to the run's folder.
    pub log: Option<String>,
}

/// The end of a task, or a milestone within it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DocumentEdge {
    /// The task.
    pub task: String,
    /// The milestone; without one the end is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milestone: Option<String>,
}

/// Why a task that was ready did not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DocumentWait {
    /// The resources of which too little was free. Empty: all threads were taken.
    pub resources: Vec<String>,
    /// The task whose end let it start.
    pub freed_by: Option<String>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DocumentOutcome {
    /// It did its work.
    Done {
        /// Its word about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// There was nothing to do.
    Skipped {
        /// Why not.
        reason: String,
    },
    /// It failed by itself.
    Failed {
        /// The error with its causes.
        error: String,
        /// Whether it is a mistake of the runner.
        panicked: bool,
    },
    /// It was running and was told to stop.
    Cancelled {
        /// Why, in words.
        cause: String,
        /// The failed task that is the cause; none when someone ended the run.
        because_of: Option<String>,
        /// The error with which it ended.
        detail: Option<String>,
    },
    /// It never ran.
    NotStarted {
        /// Why, in words.
        cause: String,
        /// The failed task that is the cause; none when someone ended the run.
        because_of: Option<String>,
    },
}

/// A link of the bounding chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Link {
    /// The task.
    pub task: String,
    /// When the link before let it go on.
    pub from: f64,
    /// When it let the next one go on.
    pub to: f64,
    /// What it added to the run: `to` less `from`.
    pub cost: f64,
    /// How the link before let it go on.
    pub through: DocumentThrough,
}

/// How one link of a chain let the next one go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DocumentThrough {
    /// It is the first.
    Beginning,
    /// By its end or a milestone.
    Edge {
        /// What was waited for.
        edge: DocumentEdge,
    },
    /// By giving back what it held.
    Resource {
        /// The resources.
        resources: Vec<String>,
        /// Who held them.
        freed_by: String,
    },
}

/// What a task costs in a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cost {
    /// The task.
    pub task: String,
    /// What it adds.
    pub cost: f64,
}

/// What the run would have taken if a task took no time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IfFree {
    /// The task.
    pub task: String,
    /// What it cost in the bounding chain.
    pub cost: f64,
    /// What the run would have taken.
    pub seconds: f64,
}

impl Document {
    /// The run as report.json has it.
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

    /// What later runs keep of it.
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

/// What is left of the runs in the folder of runs (`target/e2e`), the newest `limit` of them, oldest first.
/// `own` is left out. Folders without a report that can be read (a run that was killed, another version) are
/// left out too.
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

/// To the microsecond: more is noise, and would be printed.
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
