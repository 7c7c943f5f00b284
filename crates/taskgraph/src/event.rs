//! Events for the observer of a run.

use std::time::Duration;

use crate::graph::TaskId;
use crate::outcome::Outcome;

/// An event, in order. Observers are called by the thread that called
/// [`Graph::run`](crate::Graph::run), between two decisions: they should be quick.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Since the run began.
    pub at: Duration,
    /// The task.
    pub task: TaskId,
    /// What happened.
    pub what: What,
}

/// What happened to a task.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// All its edges are satisfied, but it cannot start yet.
    Waiting {
        /// The resources that are in use, or reserved for a more urgent task. Empty: all threads are
        /// in use.
        resources: Vec<String>,
    },
    /// It started.
    Started,
    /// It reached a milestone.
    Reached(String),
    /// Its progress: one line for the live table.
    Progress(String),
    /// It ended, or will never start.
    Finished(Outcome),
}
