//! The plan: a graph as plain data, before it is checked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seconds;

/// Tasks with their edges and resources, as plain data: it can be printed, compared,
/// stored and changed freely. [`Graph::new`](crate::Graph::new) checks it.
///
/// `A` is the action of a task, a type of the user (usually an enum); the crate does not interpret it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan<A = ()> {
    /// Capacity of each resource, in the unit that the tasks' needs use (slots, bytes).
    #[serde(default)]
    pub resources: BTreeMap<String, u64>,
    /// The tasks. Their order breaks ties between equally urgent ones, and is the order of `always` tasks.
    pub tasks: Vec<Task<A>>,
}

/// One task of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task<A = ()> {
    /// Unique within the plan, for example `image:gateway`.
    pub name: String,
    /// Its action.
    pub action: A,
    /// The conditions of its start.
    #[serde(default)]
    pub after: Vec<Edge>,
    /// What it holds while it runs: amounts of the plan's resources, acquired all at once.
    #[serde(default)]
    pub needs: BTreeMap<String, u64>,
    /// Expected duration in seconds. It determines the priority, and the duration in a simulated run.
    #[serde(with = "seconds", default = "default_estimate")]
    pub estimate: Duration,
    /// Points within the task for which others may wait, with the expected seconds from its start.
    #[serde(with = "seconds::map", default)]
    pub milestones: BTreeMap<String, Duration>,
    /// Whether it runs at the end whatever the outcome, one after the other in the order of the plan.
    #[serde(default)]
    pub always: bool,
}

/// A condition of a task's start: the end of another task, or a milestone within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Edge {
    /// The task to wait for.
    pub task: String,
    /// A milestone that this task declares; without one its end is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milestone: Option<String>,
}

fn default_estimate() -> Duration {
    Duration::from_secs(1)
}

impl<A> Default for Plan<A> {
    fn default() -> Self {
        Self {
            resources: BTreeMap::new(),
            tasks: Vec::new(),
        }
    }
}

impl<A> Plan<A> {
    /// A plan without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the capacity of a resource.
    pub fn resource(&mut self, name: impl Into<String>, capacity: u64) -> &mut Self {
        self.resources.insert(name.into(), capacity);
        self
    }

    /// Adds a task.
    pub fn task(&mut self, task: Task<A>) -> &mut Self {
        self.tasks.push(task);
        self
    }

    /// The same plan with other actions, for example `plan.map(|_| ())` for its bare shape.
    pub fn map<B>(self, mut action: impl FnMut(A) -> B) -> Plan<B> {
        let tasks = self.tasks.into_iter().map(|task| task.map(&mut action)).collect();
        Plan {
            resources: self.resources,
            tasks,
        }
    }
}

impl<A> Task<A> {
    /// A task without edges and needs, with an estimate of one second.
    pub fn new(name: impl Into<String>, action: A) -> Self {
        Self {
            name: name.into(),
            action,
            after: Vec::new(),
            needs: BTreeMap::new(),
            estimate: default_estimate(),
            milestones: BTreeMap::new(),
            always: false,
        }
    }

    /// Waits for the end of `task`.
    #[must_use]
    pub fn after(mut self, task: impl Into<String>) -> Self {
        self.after.push(Edge::end(task));
        self
    }

    /// Waits for the end of each of `tasks`.
    #[must_use]
    pub fn after_all<N: Into<String>>(mut self, tasks: impl IntoIterator<Item = N>) -> Self {
        self.after.extend(tasks.into_iter().map(Edge::end));
        self
    }

    /// Waits only until `task` reaches `milestone`, or has succeeded.
    #[must_use]
    pub fn after_milestone(mut self, task: impl Into<String>, milestone: impl Into<String>) -> Self {
        self.after.push(Edge::milestone(task, milestone));
        self
    }

    /// Holds `amount` of `resource` while it runs.
    #[must_use]
    pub fn needs(mut self, resource: impl Into<String>, amount: u64) -> Self {
        self.needs.insert(resource.into(), amount);
        self
    }

    /// Sets the expected duration.
    #[must_use]
    pub fn estimate(mut self, estimate: Duration) -> Self {
        self.estimate = estimate;
        self
    }

    /// Declares a milestone, expected `offset` after the start.
    #[must_use]
    pub fn milestone(mut self, name: impl Into<String>, offset: Duration) -> Self {
        self.milestones.insert(name.into(), offset);
        self
    }

    /// Makes it run at the end whatever the outcome.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    fn map<B>(self, action: impl FnOnce(A) -> B) -> Task<B> {
        let Self {
            name,
            action: old,
            after,
            needs,
            estimate,
            milestones,
            always,
        } = self;
        Task {
            name,
            action: action(old),
            after,
            needs,
            estimate,
            milestones,
            always,
        }
    }
}

impl Edge {
    /// Waits for the end of `task`.
    pub fn end(task: impl Into<String>) -> Self {
        Self {
            task: task.into(),
            milestone: None,
        }
    }

    /// Waits for `milestone` within `task`.
    pub fn milestone(task: impl Into<String>, milestone: impl Into<String>) -> Self {
        Self {
            task: task.into(),
            milestone: Some(milestone.into()),
        }
    }
}

impl std::fmt::Display for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.milestone {
            None => f.write_str(&self.task),
            Some(milestone) => write!(f, "{} {milestone}", self.task),
        }
    }
}
