//! What a running task may ask and tell.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::cancel::{OnCancel, Token};
use crate::clock::Clock;
use crate::outcome::{Cause, Outcome, Returned};

/// A running task's link to its run. Cheap to clone and free to move to helper threads; what is told
/// after the task's end is ignored.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    id: usize,
    name: String,
    milestones: Vec<String>,
    token: Token,
    clock: Clock,
    sender: Sender<Message>,
    outcomes: Vec<(String, Outcome)>,
}

/// From tasks to the thread that decides.
pub(crate) struct Message {
    pub(crate) at: Duration,
    pub(crate) id: usize,
    pub(crate) what: Told,
}

pub(crate) enum Told {
    Reached(String),
    Progress(String),
    Note(String),
    Measured(String, f64),
    Finished(Box<Returned>),
    Interrupted,
}

/// The task was told to stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled: {0}")]
pub struct Cancelled(pub Cause);

/// A milestone that the task doesn't declare in the plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {task:?} reached milestone {milestone:?}, which the plan does not declare for it")]
pub struct UnknownMilestone {
    /// The task.
    pub task: String,
    /// What it reached.
    pub milestone: String,
}

impl Context {
    pub(crate) fn new(
        id: usize,
        name: String,
        milestones: Vec<String>,
        token: Token,
        clock: Clock,
        sender: Sender<Message>,
        outcomes: Vec<(String, Outcome)>,
    ) -> Self {
        Self(Arc::new(Inner {
            id,
            name,
            milestones,
            token,
            clock,
            sender,
            outcomes,
        }))
    }

    pub(crate) fn finish(&self, returned: Returned) {
        self.tell(Told::Finished(Box::new(returned)));
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the task was told to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// For `context.check()?` between two steps.
    ///
    /// # Errors
    /// When the task was told to stop.
    pub fn check(&self) -> Result<(), Cancelled> {
        self.0.token.cause().map_or(Ok(()), |cause| Err(Cancelled(cause)))
    }

    /// Calls `callback` once when the task is told to stop (at once when it already is), as long as the guard
    /// lives. The callback runs on another thread and should be quick: kill a process group, close a socket.
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) -> OnCancel {
        self.0.token.on_cancel(Box::new(callback))
    }

    /// The interval of a polling loop: waits for `interval`, less if the task is told to stop meanwhile.
    ///
    /// # Errors
    /// When the task was told to stop.
    pub fn pause(&self, interval: Duration) -> Result<(), Cancelled> {
        self.0.token.wait(interval);
        self.check()
    }

    /// Lets those go on that wait for this milestone of the task.
    ///
    /// # Errors
    /// When the plan does not declare it.
    pub fn reach(&self, milestone: &str) -> Result<(), UnknownMilestone> {
        if !self.0.milestones.iter().any(|declared| declared == milestone) {
            return Err(UnknownMilestone {
                task: self.0.name.clone(),
                milestone: milestone.to_owned(),
            });
        }
        self.tell(Told::Reached(milestone.to_owned()));
        Ok(())
    }

    /// One line on how far it is, for the live table.
    pub fn progress(&self, line: impl Into<String>) {
        self.tell(Told::Progress(line.into()));
    }

    /// A remark that stays in the trace.
    pub fn note(&self, note: impl Into<String>) {
        self.tell(Told::Note(note.into()));
    }

    /// A figure that stays in the trace, with its unit in the name: `memory_peak_bytes`, `cpu_seconds`.
    /// The last value of a name counts.
    pub fn measured(&self, name: impl Into<String>, value: f64) {
        self.tell(Told::Measured(name.into(), value));
    }

    /// For `always` tasks: how each task that ended before ended, in the order of the plan. Empty for others.
    pub fn outcomes(&self) -> &[(String, Outcome)] {
        &self.0.outcomes
    }

    fn tell(&self, what: Told) {
        let message = Message {
            at: self.0.clock.now(),
            id: self.0.id,
            what,
        };
        // The receiver is gone when the run is over: then nobody needs it any more.
        let _ = self.0.sender.send(message);
    }
}
