//! The result of one signal of a request.

use std::time::Duration;

use uuid::Uuid;
use wire::problem::FieldError;

use crate::cluster;
use crate::deduplicate::Outcome;
use crate::domain::fingerprint::Fingerprint;
use crate::gateway::Taken;

/// Maximum number of rejected alerts of one webhook whose errors are kept.
pub const MAX_DETAILED: usize = 32;

/// The result of one signal of a request; small, because a webhook has many.
#[derive(Debug)]
pub enum Entry {
    /// It is invalid. The errors of the first invalid alerts only.
    Rejected(Option<Box<Vec<FieldError>>>),
    /// It is valid, and no request is created.
    Left(Left, Box<Fingerprint>),
    /// It was processed.
    Taken(Box<Processed>),
}

/// Why no request is created for a valid signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It is resolved.
    Resolved,
    /// It is in the ignore list.
    Ignored,
}

impl Left {
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Ignored => "ignored",
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Resolved => "the alert is resolved; no request is created",
            Self::Ignored => "the alert is in alerts.ignore; no request is created",
        }
    }
}

/// What is kept of a processed signal.
#[derive(Debug)]
pub struct Processed {
    pub(super) fingerprint: Fingerprint,
    pub(super) result: Result<Counted, Failed>,
}

#[derive(Debug)]
pub(super) struct Counted {
    pub(super) duplicate: bool,
    pub(super) suppressed: bool,
    pub(super) count: i64,
    /// Of a signal that is the only one of its request.
    pub(super) details: Option<Box<Outcome>>,
}

#[derive(Debug)]
pub(super) struct Failed {
    /// The kind of the error. Its message may contain internal names, and is in the log.
    pub(super) kind: &'static str,
    /// When to send it again, if that may help.
    retry_after: Option<Duration>,
    /// The signal's id, if its request may have been created all the same.
    id: Option<Uuid>,
}

impl Counted {
    pub(super) fn status(&self) -> &'static str {
        match (self.suppressed, self.duplicate) {
            (true, _) => "suppressed",
            (false, true) => "deduplicated",
            (false, false) => "created",
        }
    }

    pub(super) fn message(&self) -> String {
        match (self.suppressed, self.duplicate) {
            (true, _) => {
                "not counted: the last RemediationRequest is in the cool-down of its outcome".to_owned()
            }
            (false, true) => format!(
                "counted as occurrence {} of an active RemediationRequest",
                self.count
            ),
            (false, false) => "a RemediationRequest was created".to_owned(),
        }
    }
}

impl Entry {
    /// The entry of a processed signal; `only` if its request has no other.
    #[must_use]
    pub fn taken(taken: Taken, only: bool) -> Self {
        let Taken {
            id,
            fingerprint,
            result,
        } = taken;
        let result = match result {
            Ok(outcome) => Ok(Counted {
                duplicate: outcome.duplicate,
                suppressed: outcome.suppressed,
                count: outcome.count,
                details: only.then(|| Box::new(outcome)),
            }),
            Err(error) => Err(Failed {
                kind: error.kind(),
                id: error.is_unknown().then_some(id),
                retry_after: match error {
                    cluster::Error::Unavailable { retry_after, .. } => Some(retry_after),
                    _ => None,
                },
            }),
        };
        Self::Taken(Box::new(Processed { fingerprint, result }))
    }

    /// Whether the signal was processed, so that a further delivery must not process it again.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !matches!(self, Self::Rejected(_)) && self.retry_after().is_none()
    }

    /// The id that the signal keeps when it is sent again, because its request may have been created.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        match self {
            Self::Taken(processed) => processed.result.as_ref().err()?.id,
            Self::Rejected(_) | Self::Left(..) => None,
        }
    }

    /// When the sender should send the signal again.
    #[must_use]
    pub fn retry_after(&self) -> Option<(&'static str, Duration)> {
        match self {
            Self::Taken(processed) => match &processed.result {
                Err(Failed {
                    kind, retry_after, ..
                }) => retry_after.map(|after| (*kind, after)),
                Ok(_) => None,
            },
            Self::Rejected(_) | Self::Left(..) => None,
        }
    }
}
