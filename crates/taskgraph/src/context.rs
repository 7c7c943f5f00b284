//! The interface of a running task to its run.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::cancel::{OnCancel, Token};
use crate::clock::Clock;
use crate::outcome::{Cause, Outcome, Returned};

/// A running task's link to its run. Cheap to clone, and can be moved to helper threads; calls
/// after the task's end are ignored.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: usize,
    pub(crate) name: String,
    pub(crate) milestones: Vec<String>,
    pub(crate) token: Token,
    pub(crate) clock: Clock,
    pub(crate) sender: Sender<Message>,
    pub(crate) outcomes: Vec<(String, Outcome)>,
}

/// From tasks to the scheduling thread.
pub(crate) struct Message {
    pub(crate) at: Duration,
    pub(crate) id: usize,
    pub(crate) what: Report,
}

pub(crate) enum Report {
    Reached(String),
    Progress(String),
    Note(String),
    Measured(String, f64),
    Finished(Box<Returned>),
    Interrupted,
}

/// The task was cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled: {0}")]
pub struct Cancelled(pub Cause);

/// A milestone that the plan does not declare for the task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {task:?} reached milestone {milestone:?}, which the plan does not declare for it")]
pub struct UnknownMilestone {
    /// The task.
    pub task: String,
    /// The milestone.
    pub milestone: String,
}

impl Context {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(crate) fn finish(&self, returned: Returned) {
        self.notify(Report::Finished(Box::new(returned)));
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// For `context.check()?` between two steps.
    ///
    /// # Errors
    /// The task was cancelled.
    pub fn check(&self) -> Result<(), Cancelled> {
        self.0.token.cause().map_or(Ok(()), |cause| Err(Cancelled(cause)))
    }

    /// Calls `callback` once when the task is cancelled (at once when it already is), while the guard
    /// lives. The callback runs on another thread and should be quick: kill a process group, close a socket.
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) -> OnCancel {
        self.0.token.on_cancel(Box::new(callback))
    }

    /// The interval of a polling loop: waits for `interval`, or until the task is cancelled.
    ///
    /// # Errors
    /// The task was cancelled.
    pub fn pause(&self, interval: Duration) -> Result<(), Cancelled> {
        self.0.token.wait(interval);
        self.check()
    }

    /// Marks a milestone of the task as reached, which releases the tasks that wait for it.
    ///
    /// # Errors
    /// The plan does not declare it.
    pub fn reach(&self, milestone: &str) -> Result<(), UnknownMilestone> {
        if !self.0.milestones.iter().any(|declared| declared == milestone) {
            return Err(UnknownMilestone {
                task: self.0.name.clone(),
                milestone: milestone.to_owned(),
            });
        }
        self.notify(Report::Reached(milestone.to_owned()));
        Ok(())
    }

    /// Reports progress in one line, for the live table.
    pub fn progress(&self, line: impl Into<String>) {
        self.notify(Report::Progress(line.into()));
    }

    /// Adds a remark to the trace.
    pub fn note(&self, note: impl Into<String>) {
        self.notify(Report::Note(note.into()));
    }

    /// Adds a figure to the trace, with its unit in the name: `memory_peak_bytes`, `cpu_seconds`.
    /// The last value of a name is kept.
    pub fn measured(&self, name: impl Into<String>, value: f64) {
        self.notify(Report::Measured(name.into(), value));
    }

    /// For `always` tasks: the outcome of each task that ended before, in the order of the plan. Empty for others.
    pub fn outcomes(&self) -> &[(String, Outcome)] {
        &self.0.outcomes
    }

    fn notify(&self, what: Report) {
        let message = Message {
            at: self.0.clock.now(),
            id: self.0.id,
            what,
        };
        // The receiver is dropped when the run is over: then the message is irrelevant.
        let _ = self.0.sender.send(message);
    }
}
