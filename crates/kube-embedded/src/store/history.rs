//! The latest changes of a table, for watches and for lists at earlier versions.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use imbl::OrdMap;

use super::{Entry, Key};

/// The type of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// A new object.
    Created,
    /// A new version.
    Updated,
    /// A deletion.
    Deleted,
}

/// One write.
#[derive(Debug)]
pub struct Change {
    /// The type.
    pub kind: ChangeKind,
    /// The object after the write; for a deletion its last state, at the deletion's version.
    pub entry: Arc<Entry>,
    /// The object before the write.
    pub previous: Option<Arc<Entry>>,
    /// The watch event, serialized once for all watches.
    pub line: OnceLock<Bytes>,
}

/// The latest changes in order.
#[derive(Debug)]
pub(super) struct History {
    changes: VecDeque<Arc<Change>>,
    /// Changes up to this write are discarded.
    floor: u64,
}

impl History {
    pub(super) fn new(floor: u64) -> Self {
        Self {
            changes: VecDeque::new(),
            floor,
        }
    }

    pub(super) fn push(&mut self, change: Arc<Change>, limit: usize) {
        self.changes.push_back(change);
        while self.changes.len() > limit {
            if let Some(oldest) = self.changes.pop_front() {
                self.floor = oldest.entry.revision;
            }
        }
    }

    pub(super) fn forget(&mut self, revision: u64) {
        self.changes.clear();
        self.floor = revision;
    }

    pub(super) fn after(&self, revision: u64, limit: usize) -> Result<Vec<Arc<Change>>, u64> {
        if revision < self.floor {
            return Err(self.floor);
        }
        let start = self
            .changes
            .partition_point(|change| change.entry.revision <= revision);
        Ok(self.changes.range(start..).take(limit).cloned().collect())
    }

    /// Reverts the changes after a write.
    pub(super) fn rewind(
        &self,
        mut entries: OrdMap<Key, Arc<Entry>>,
        revision: u64,
    ) -> Result<OrdMap<Key, Arc<Entry>>, u64> {
        if revision < self.floor {
            return Err(self.floor);
        }
        for change in self
            .changes
            .iter()
            .rev()
            .take_while(|change| change.entry.revision > revision)
        {
            match &change.previous {
                Some(previous) => entries.insert(previous.key.clone(), Arc::clone(previous)),
                None => entries.remove(&change.entry.key),
            };
        }
        Ok(entries)
    }
}
