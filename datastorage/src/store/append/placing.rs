//! Decides which units are stored, and assigns the positions of their events.

use std::collections::HashMap;

use uuid::Uuid;

use super::Verdict;
use crate::domain::chain::{self, GENESIS, Keys};
use crate::domain::event::{Hash, Micros, Sealed};

/// A chain head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) sequence: i64,
    pub(super) hash: Hash,
}

/// The state of a chain while a group is computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// In the database; `None` if the chain is new.
    pub(super) before: Option<End>,
    pub(super) now: End,
}

impl Head {
    pub(super) fn at(before: Option<End>) -> Self {
        let now = before.unwrap_or(End {
            sequence: 0,
            hash: GENESIS,
        });
        Self { before, now }
    }

    pub(super) fn has_moved(&self) -> bool {
        self.before.map_or(0, |end| end.sequence) != self.now.sequence
    }
}

/// A new row.
pub(super) struct Row<'a> {
    pub(super) sealed: &'a Sealed,
    pub(super) sequence: i64,
    pub(super) previous: Hash,
    pub(super) hash: Hash,
}

/// Whether a unit can be stored: no id belongs to another event, every parent exists.
pub(super) fn judge(unit: &[Sealed], known: &HashMap<Uuid, Hash>) -> Verdict {
    let mut of_unit: HashMap<Uuid, Hash> = HashMap::new();
    for (index, sealed) in unit.iter().enumerate() {
        let event_id = sealed.event.event_id;
        if let Some(parent) = sealed.event.parent_event_id
            && !known.contains_key(&parent)
            && !of_unit.contains_key(&parent)
        {
            return Verdict::MissingParent { index, parent };
        }
        let first = known.get(&event_id).or_else(|| of_unit.get(&event_id));
        if first.is_some_and(|first| *first != sealed.content_hash) {
            return Verdict::Conflict { index, event_id };
        }
        of_unit.insert(event_id, sealed.content_hash);
    }
    Verdict::Stored
}

/// Assigns positions to the events of a unit that are not yet stored.
pub(super) fn chain_unit<'a>(
    unit: &'a [Sealed],
    keys: &Keys,
    now: Micros,
    known: &mut HashMap<Uuid, Hash>,
    heads: &mut HashMap<&str, Head>,
    rows: &mut Vec<Row<'a>>,
) {
    for sealed in unit {
        if known.insert(sealed.event.event_id, sealed.content_hash).is_some() {
            continue;
        }
        if let Some(head) = heads.get_mut(sealed.event.correlation_id.as_str()) {
            let previous = head.now.hash;
            let sequence = head.now.sequence + 1;
            let hash = chain::link(keys.at(now), &previous, sequence, now, &sealed.chained_hash);
            head.now = End { sequence, hash };
            rows.push(Row {
                sealed,
                sequence,
                previous,
                hash,
            });
        }
    }
}
