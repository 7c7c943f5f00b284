//! What becomes of an entry.

use crate::domain::fields::Invalid;
use crate::store::append::Verdict;

/// The result of an entry.
pub(super) enum Fate {
    /// It is stored, now or before.
    Stored,
    /// The database rejects it; it is retried, and finally dead-lettered.
    Rejected(String),
    /// It can never be stored.
    Unstorable(String),
}

pub(super) fn fate_of(verdict: Option<Verdict>) -> Fate {
    match verdict {
        Some(Verdict::Stored) => Fate::Stored,
        Some(Verdict::Conflict { event_id, .. }) => {
            Fate::Unstorable(format!("another event with the event_id {event_id} is stored"))
        }
        Some(Verdict::MissingParent { parent, .. }) => {
            Fate::Rejected(format!("its parent_event_id {parent} is not stored"))
        }
        Some(Verdict::Rejected(reason)) => Fate::Rejected(reason),
        None => Fate::Rejected("it was not attempted".to_owned()),
    }
}

/// The errors of an entry in one line.
pub(super) fn message_of(invalid: &[Invalid]) -> String {
    invalid
        .iter()
        .map(|invalid| format!("{} {}", invalid.field, invalid.message))
        .collect::<Vec<_>>()
        .join("; ")
}
