//! Availability of the stores, as their users last observed it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

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
    postgresql_returns: watch::Sender<u64>,
}

impl Availability {
    pub(crate) fn new(readiness: ReadinessCell) -> Self {
        Self {
            readiness,
            up: Arc::default(),
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
        self.readiness.dependency(dependency.as_str(), Status::Ok, "");
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
        self.up
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&dependency)
            == Some(&false)
    }

    /// Whether the state changed.
    fn set(&self, dependency: Dependency, is_up: bool) -> bool {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        let before = up.insert(dependency, is_up);
        let any = up.values().any(|up| *up);
        self.readiness.update(|readiness| readiness.ready = any);
        before != Some(is_up)
    }
}
