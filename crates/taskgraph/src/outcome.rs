//! Outcomes of tasks, and their causes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of a successful action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It did its work.
    #[default]
    Done,
    /// It did its work, with a remark, for example `2 images, 120 MB`.
    DoneWith(String),
    /// There was nothing to do, for example `the node already has it`. Dependent tasks start.
    Skipped(String),
}

/// Any error of an action; `anyhow::Error` and every `std::error::Error` convert into it.
pub type TaskError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The result of an action, and whether the task was cancelled by then.
pub(crate) struct Returned {
    pub(crate) result: Result<Ending, TaskError>,
    pub(crate) cancelled: Option<Cause>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// It did its work.
    Done {
        /// Its remark.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// There was nothing to do.
    Skipped {
        /// The reason.
        reason: String,
    },
    /// It failed by itself.
    Failed {
        /// The error with its causes, outermost first, separated by `: `; of a panic its message.
        error: String,
        /// Whether it panicked.
        #[serde(default)]
        panicked: bool,
    },
    /// It was running, was cancelled, and did not succeed.
    Cancelled {
        /// Why it was cancelled.
        cause: Cause,
        /// The error with which it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// It never ran.
    NotStarted {
        /// The reason.
        cause: Cause,
    },
}

/// Why a task was cancelled or not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// It needs, directly or through others, a task that failed.
    Needs {
        /// The task that failed.
        task: String,
    },
    /// It does not need the task that failed, but the run stops at the first failure.
    Stopped {
        /// The task that failed.
        task: String,
    },
    /// The run was cancelled from outside.
    Interrupted {
        /// In the words given to [`Interrupt::cancel`](crate::Interrupt::cancel).
        reason: String,
    },
}

impl Outcome {
    /// Whether dependent tasks may start: done or skipped.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Skipped { .. })
    }

    /// Whether it failed by itself (cancelled and not started tasks did not).
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    /// One word for tables: `done`, `skipped`, `failed`, `cancelled`, `not started`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Skipped { .. } => "skipped",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::NotStarted { .. } => "not started",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needs { task } => write!(f, "needs {task}, which failed"),
            Self::Stopped { task } => write!(f, "the run stopped because {task} failed"),
            Self::Interrupted { reason } => write!(f, "interrupted: {reason}"),
        }
    }
}

/// The error with its causes in one line.
pub(crate) fn chain_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors repeat their source in their own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
