//! All objects, their versions and their history, independent of HTTP and kinds: a table is a name, an object bytes.
//!
//! One number counts all writes; an object's `resourceVersion` is the number of its last one. Objects are kept as
//! the JSON that is sent, so that lists and watches copy nothing and 100,000 of them fit in memory.

mod entry;
mod history;
mod journal;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use imbl::OrdMap;
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::watch;

pub use entry::{Entry, FieldPath, FieldPaths, Key};
use history::History;
pub use history::{Change, ChangeKind};
use journal::Journal;

use crate::object;

/// Why a write was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// The key exists.
    Exists,
    /// The object is not (any longer) at the expected version.
    Stale,
    /// The namespace does not exist.
    NoNamespace,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// The journal could not be written.
    Journal(String),
}

#[derive(Debug)]
struct Table {
    entries: OrdMap<Key, Arc<Entry>>,
    history: History,
    changed: watch::Sender<u64>,
}

impl Table {
    fn new(revision: u64) -> Self {
        Self {
            entries: OrdMap::new(),
            history: History::new(revision),
            changed: watch::Sender::new(revision),
        }
    }
}

#[derive(Debug)]
struct State {
    revision: u64,
    compacted: u64,
    tables: HashMap<Arc<str>, Table>,
    journal: Option<Journal>,
}

/// The table of namespaces: creating an object reads it.
pub const NAMESPACES: &str = "namespaces";

/// All objects.
#[derive(Debug)]
pub struct Store {
    state: RwLock<State>,
    history_limit: usize,
}

/// A consistent view of a table.
#[derive(Debug)]
pub struct Snapshot {
    /// The objects in order.
    pub entries: OrdMap<Key, Arc<Entry>>,
    /// resourceVersion of the table.
    pub revision: u64,
}

impl Store {
    /// Creates an empty store that keeps `history_limit` changes per table.
    #[must_use]
    pub fn new(history_limit: usize) -> Self {
        let state = State {
            revision: 1,
            compacted: 1,
            tables: HashMap::new(),
            journal: None,
        };
        Self {
            state: RwLock::new(state),
            history_limit,
        }
    }

    /// Opens a store with a journal and loads it. A line that was cut off at the end by a kill is dropped; any other
    /// invalid line is an error with its number.
    ///
    /// # Errors
    /// The file cannot be read, written or parsed.
    pub fn open(history_limit: usize, path: &Path) -> anyhow::Result<Self> {
        let store = Self::new(history_limit);
        let (journal, records) = Journal::open(path)?;
        {
            let mut state = store.state.write();
            for record in records {
                state.revision = state.revision.max(record.revision);
                let table = state.tables.entry(record.table).or_insert_with(|| Table::new(0));
                match record.entry {
                    Some(entry) => table.entries.insert(record.key, Arc::new(entry)),
                    None => table.entries.remove(&record.key),
                };
            }
            let revision = state.revision;
            state.compacted = revision;
            for table in state.tables.values_mut() {
                table.history = History::new(revision);
                table.changed.send_replace(revision);
            }
            state.journal = Some(journal);
        }
        Ok(store)
    }

    /// The number of the last write.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.state.read().revision
    }

    /// The object at a key.
    #[must_use]
    pub fn get(&self, table: &str, key: &Key) -> Option<Arc<Entry>> {
        self.state.read().tables.get(table)?.entries.get(key).cloned()
    }

    /// All objects of a table at the current version.
    #[must_use]
    pub fn snapshot(&self, table: &str) -> Snapshot {
        let state = self.state.read();
        let entries = state
            .tables
            .get(table)
            .map(|table| table.entries.clone())
            .unwrap_or_default();
        Snapshot {
            entries,
            revision: state.revision,
        }
    }

    /// All objects of a table after the write of that number; `Err` is the oldest available number.
    ///
    /// # Errors
    /// The history no longer covers that number.
    pub fn snapshot_at(&self, table: &str, revision: u64) -> Result<Snapshot, u64> {
        let state = self.state.read();
        let Some(table) = state.tables.get(table) else {
            return if revision < state.compacted {
                Err(state.compacted)
            } else {
                Ok(Snapshot {
                    entries: OrdMap::new(),
                    revision,
                })
            };
        };
        let entries = table.history.rewind(table.entries.clone(), revision)?;
        Ok(Snapshot { entries, revision })
    }

    /// Discards the history, as the real server does every few minutes.
    pub fn compact(&self) {
        let mut state = self.state.write();
        let revision = state.revision;
        state.compacted = revision;
        state
            .tables
            .values_mut()
            .for_each(|table| table.history.forget(revision));
    }

    /// At most `limit` changes of a table after a write, and a signal of further ones.
    ///
    /// # Errors
    /// The oldest available number, when the history no longer covers the requested one.
    pub fn changes(&self, table: &str, after: u64, limit: usize) -> Result<Vec<Arc<Change>>, u64> {
        let state = self.state.read();
        match state.tables.get(table) {
            Some(table) => table.history.after(after, limit),
            None if after < state.compacted => Err(state.compacted),
            None => Ok(Vec::new()),
        }
    }

    /// A signal that changes with each write to the table.
    #[must_use]
    pub fn subscribe(&self, table: &str) -> watch::Receiver<u64> {
        if let Some(table) = self.state.read().tables.get(table) {
            return table.changed.subscribe();
        }
        let mut state = self.state.write();
        let revision = state.compacted;
        state
            .tables
            .entry(table.into())
            .or_insert_with(|| Table::new(revision))
            .changed
            .subscribe()
    }

    /// Inserts a new object. Sets its `resourceVersion`.
    ///
    /// # Errors
    /// The key exists, the namespace is missing or terminating, the journal failed.
    pub fn create(
        &self,
        table: &str,
        key: Key,
        object: Value,
        fields: &[FieldPath],
    ) -> Result<Arc<Entry>, WriteError> {
        let mut state = self.state.write();
        if !key.namespace.is_empty() {
            let namespace = Key::new("", &key.namespace);
            let found = state
                .tables
                .get(NAMESPACES)
                .and_then(|table| table.entries.get(&namespace));
            match found {
                None => return Err(WriteError::NoNamespace),
                Some(entry) if entry.deleting => return Err(WriteError::NamespaceTerminating),
                Some(_) => {}
            }
        }
        if state
            .tables
            .get(table)
            .is_some_and(|table| table.entries.contains_key(&key))
        {
            return Err(WriteError::Exists);
        }
        self.commit(&mut state, table, key, None, object, fields, ChangeKind::Created)
    }

    /// Replaces an object that is at the version `based_on`.
    ///
    /// # Errors
    /// It is at another version, or the journal failed.
    pub fn update(
        &self,
        table: &str,
        based_on: &Arc<Entry>,
        object: Value,
        fields: &[FieldPath],
    ) -> Result<Arc<Entry>, WriteError> {
        self.change(table, based_on, object, fields, ChangeKind::Updated)
    }

    /// Removes an object that is at the version `based_on`; `object` is its last state for watches.
    ///
    /// # Errors
    /// It is at another version, or the journal failed.
    pub fn delete(
        &self,
        table: &str,
        based_on: &Arc<Entry>,
        object: Value,
        fields: &[FieldPath],
    ) -> Result<Arc<Entry>, WriteError> {
        self.change(table, based_on, object, fields, ChangeKind::Deleted)
    }

    fn change(
        &self,
        table: &str,
        based_on: &Arc<Entry>,
        object: Value,
        fields: &[FieldPath],
        kind: ChangeKind,
    ) -> Result<Arc<Entry>, WriteError> {
        let mut state = self.state.write();
        let current = state
            .tables
            .get(table)
            .and_then(|table| table.entries.get(&based_on.key));
        let previous = match current {
            Some(current) if current.revision == based_on.revision => Arc::clone(current),
            _ => return Err(WriteError::Stale),
        };
        self.commit(
            &mut state,
            table,
            based_on.key.clone(),
            Some(previous),
            object,
            fields,
            kind,
        )
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "every write passes here, from three functions"
    )]
    fn commit(
        &self,
        state: &mut State,
        table: &str,
        key: Key,
        previous: Option<Arc<Entry>>,
        mut object: Value,
        fields: &[FieldPath],
        kind: ChangeKind,
    ) -> Result<Arc<Entry>, WriteError> {
        let revision = state.revision + 1;
        object::metadata_mut(&mut object).insert("resourceVersion".into(), revision.to_string().into());
        let entry = Entry::of(key, revision, &object, fields)
            .map(Arc::new)
            .map_err(|error| WriteError::Journal(error.to_string()))?;
        if let Some(journal) = &mut state.journal {
            journal
                .append(table, &entry, kind)
                .map_err(|error| WriteError::Journal(error.to_string()))?;
        }
        state.revision = revision;
        let compacted = state.compacted;
        let table = state
            .tables
            .entry(table.into())
            .or_insert_with(|| Table::new(compacted));
        match kind {
            ChangeKind::Deleted => table.entries.remove(&entry.key),
            _ => table.entries.insert(entry.key.clone(), Arc::clone(&entry)),
        };
        let change = Change {
            kind,
            entry: Arc::clone(&entry),
            previous,
            line: OnceLock::new(),
        };
        table.history.push(Arc::new(change), self.history_limit);
        table.changed.send_replace(revision);
        Ok(entry)
    }

    /// Recomputes the selectable fields of a table's objects, for instance after a definition has changed them.
    pub fn reindex(&self, table: &str, fields: &[FieldPath]) {
        let mut state = self.state.write();
        let Some(table) = state.tables.get_mut(table) else {
            return;
        };
        let indexed = table.entries.values().filter_map(|old| {
            let entry = Entry::of(old.key.clone(), old.revision, &old.object(), fields).ok()?;
            Some((old.key.clone(), Arc::new(entry)))
        });
        table.entries = indexed.collect();
    }

    /// The number of objects of each table that has some.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Arc<str>, usize> {
        let state = self.state.read();
        let counts = state
            .tables
            .iter()
            .map(|(name, table)| (Arc::clone(name), table.entries.len()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// The names of all tables with objects.
    #[must_use]
    pub fn tables(&self) -> BTreeSet<Arc<str>> {
        let state = self.state.read();
        let filled = state.tables.iter().filter(|(_, table)| !table.entries.is_empty());
        filled.map(|(name, _)| Arc::clone(name)).collect()
    }
}
