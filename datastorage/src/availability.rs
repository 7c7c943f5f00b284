//! Availability of the stores, as their users last observed it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use service::health::{ReadinessCell, Status};
use tokio::sync::watch;

/// A store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dependency {
    Postgresql,
    Redis,
}

impl Dependency {
    fn as_str(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::Redis => "redis",
        }
    }
}

/// Written by every user of a store, read by the readiness probe. The service is ready while at least one store
/// accepts writes.
#[derive(Clone, Debug)]
pub(crate) struct Availability {
    readiness: ReadinessCell,
    up: Arc<Mutex<BTreeMap<Dependency, bool>>>,
    /// What is wrong with a store that is available.
    notes: Arc<Mutex<BTreeMap<Dependency, String>>>,
    /// The drain's last failure, until it stores something.
    drain_failure: Arc<Mutex<Option<String>>>,
    postgresql_returns: watch::Sender<u64>,
}

impl Availability {
    pub(crate) fn new(readiness: ReadinessCell) -> Self {
        Self {
            readiness,
            up: Arc::default(),
            notes: Arc::default(),
            drain_failure: Arc::default(),
            postgresql_returns: watch::Sender::new(0),
        }
    }

    /// Changes each time that PostgreSQL becomes available again.
    pub(crate) fn postgresql_returns(&self) -> watch::Receiver<u64> {
        self.postgresql_returns.subscribe()
    }

    /// The store responds.
    pub(crate) fn up(&self, dependency: Dependency) {
        if self.set(dependency, true) {
            tracing::info!(dependency = dependency.as_str(), "the store is available");
            if dependency == Dependency::Postgresql {
                self.postgresql_returns.send_modify(|returns| *returns += 1);
            }
        }
        let note = lock(&self.notes).get(&dependency).cloned();
        self.readiness
            .dependency(dependency.as_str(), Status::Ok, note.unwrap_or_default());
    }

    /// What is wrong with a store although it is available; shown from its next use on. Returns whether it changed.
    pub(crate) fn note(&self, dependency: Dependency, note: String) -> bool {
        let before = lock(&self.notes).insert(dependency, note.clone());
        before.unwrap_or_default() != note
    }

    /// The drain failed.
    pub(crate) fn drain_failed(&self, reason: String) {
        *lock(&self.drain_failure) = Some(reason);
    }

    /// The drain stored entries.
    pub(crate) fn drain_progressed(&self) {
        *lock(&self.drain_failure) = None;
    }

    /// Why the drain failed, unless it stored something since.
    pub(crate) fn drain_failure(&self) -> Option<String> {
        lock(&self.drain_failure).clone()
    }

    /// The state of the streams: down while entries cannot be drained or added. It does not change the readiness.
    pub(crate) fn spill(&self, status: Status, detail: String) {
        self.readiness.dependency("spill", status, detail);
    }

    /// The state of the database's schema: down while it is not this program's. It does not change the readiness.
    pub(crate) fn schema(&self, status: Status, detail: String) {
        self.readiness.dependency("schema", status, detail);
    }

    /// The state of the transparency log: down while it does not grow. It does not change the readiness.
    pub(crate) fn transparency(&self, status: Status, detail: String) {
        self.readiness.dependency("transparency", status, detail);
    }

    /// The state of a server that keeps checkpoints. It does not change the readiness.
    pub(crate) fn target(&self, url: &str, status: Status, detail: String) {
        self.readiness
            .dependency(&format!("checkpoint_target {url}"), status, detail);
    }

    /// The store does not respond, or cannot work.
    pub(crate) fn down(&self, dependency: Dependency, reason: String) {
        if self.set(dependency, false) {
            tracing::warn!(
                dependency = dependency.as_str(),
                reason,
                "the store is unavailable"
            );
        }
        self.readiness
            .dependency(dependency.as_str(), Status::Down, reason);
    }

    /// Whether the last attempt to use the store failed. A store that was never used counts as available.
    pub(crate) fn is_down(&self, dependency: Dependency) -> bool {
        lock(&self.up).get(&dependency) == Some(&false)
    }

    /// Whether the state changed.
    fn set(&self, dependency: Dependency, is_up: bool) -> bool {
        let mut up = lock(&self.up);
        let before = up.insert(dependency, is_up);
        let any = up.values().any(|up| *up);
        self.readiness.update(|readiness| readiness.ready = any);
        before != Some(is_up)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
