//! What an observer of a run is told.

use std::time::Duration;

use crate::graph::TaskId;
use crate::outcome::Outcome;

/// Something that happened, in order. Observers are called by the thread that called
/// [`Graph::run`](crate::Graph::run), between two decisions: they should be quick.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Since the run began.
    pub at: Duration,
    /// The task that it is about.
    pub task: TaskId,
    /// What happened.
    pub what: What,
}

/// What happened to a task.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// All its edges are satisfied but it can't start yet.
    Waiting {
        /// The resources of which too little is free, or is kept for a more urgent task. Empty: all threads are
        /// taken.
        resources: Vec<String>,
    },
    /// It started.
    Started,
    /// It reached a milestone.
    Reached(String),
    /// It said how far it is: one line for the live table.
    Progress(String),
    /// It ended, or will never start.
    Finished(Outcome),
}
