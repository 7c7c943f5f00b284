//! A run as data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::plan::Edge;
use crate::seconds;

/// A run. Times are seconds since it began. Self-contained: it includes the shape of the
/// graph, so that it can be analysed, compared and [replayed](Self::replay) later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// From the beginning to the end of the last task.
    #[serde(with = "seconds")]
    pub wall: Duration,
    /// Capacity of each resource.
    pub resources: BTreeMap<String, u64>,
    /// The tasks in the order of the plan.
    pub tasks: Vec<TaskTrace>,
}

/// What happened to one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskTrace {
    /// Its name.
    pub name: String,
    /// Its conditions, from the plan.
    #[serde(default)]
    pub after: Vec<Edge>,
    /// Its resources, from the plan.
    #[serde(default)]
    pub needs: BTreeMap<String, u64>,
    /// Its expected duration, from the plan.
    #[serde(with = "seconds")]
    pub estimate: Duration,
    /// Whether it runs at the end whatever the outcome.
    #[serde(default)]
    pub always: bool,
    /// When all its edges were satisfied.
    #[serde(with = "seconds::option", default)]
    pub ready: Option<Duration>,
    /// When it started.
    #[serde(with = "seconds::option", default)]
    pub start: Option<Duration>,
    /// When it ended, or when it was decided that it would not start.
    #[serde(with = "seconds")]
    pub end: Duration,
    /// The edge that was satisfied last: until [`ready`](Self::ready) it waited for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_by: Option<Edge>,
    /// From `ready` to [`start`](Self::start) it waited for this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// When it reached its milestones (since the run began, not since its start).
    #[serde(with = "seconds::map", default)]
    pub milestones: BTreeMap<String, Duration>,
    /// Its outcome.
    pub outcome: Outcome,
    /// Its remarks.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Its figures, with the unit in the name.
    #[serde(default)]
    pub measured: BTreeMap<String, f64>,
}

/// Why a task with all its edges satisfied could not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The resources that were in use, or reserved for a more urgent task. Empty: all threads
    /// were in use.
    pub resources: Vec<String>,
    /// The task whose end released it. Rarely none: it was held back for a more urgent task, and another
    /// event released it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed_by: Option<String>,
}

impl Trace {
    /// The task with this name.
    pub fn task(&self, name: &str) -> Option<&TaskTrace> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// Whether every task succeeded.
    pub fn is_success(&self) -> bool {
        self.tasks.iter().all(|task| task.outcome.is_success())
    }
}

impl TaskTrace {
    /// Its duration; zero when it never started.
    pub fn duration(&self) -> Duration {
        self.start
            .map_or(Duration::ZERO, |start| self.end.saturating_sub(start))
    }

    /// How long it waited for resources with all its edges satisfied.
    pub fn waited(&self) -> Duration {
        match (self.ready, self.start) {
            (Some(ready), Some(start)) => start.saturating_sub(ready),
            _ => Duration::ZERO,
        }
    }
}
