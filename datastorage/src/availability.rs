//! Which stores answer, as those who use them last saw it.

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

/// Written by whoever learns something, read by the readiness probe. The service is ready while at least one store
/// takes writes.
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

    /// Changes each time that PostgreSQL was away and answers again.
    pub(crate) fn postgresql_returns(&self) -> watch::Receiver<u64> {
        self.postgresql_returns.subscribe()
    }

    /// The store answers.
    pub(crate) fn up(&self, dependency: Dependency) {
        if self.set(dependency, true) {
            tracing::info!(dependency = dependency.as_str(), "the store answers");
            if dependency == Dependency::Postgresql {
                self.postgresql_returns.send_modify(|returns| *returns += 1);
            }
        }
        self.readiness.dependency(dependency.as_str(), Status::Ok, "");
    }

    /// The store does not answer, or can't work.
    pub(crate) fn down(&self, dependency: Dependency, reason: String) {
        if self.set(dependency, false) {
            tracing::warn!(dependency = dependency.as_str(), reason, "the store is away");
        }
        self.readiness
            .dependency(dependency.as_str(), Status::Down, reason);
    }

    /// Whether the store did not answer when it was last asked. One that was never asked is worth a try.
    pub(crate) fn is_down(&self, dependency: Dependency) -> bool {
        self.up
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&dependency)
            == Some(&false)
    }

    /// Whether that is news.
    fn set(&self, dependency: Dependency, is_up: bool) -> bool {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        let before = up.insert(dependency, is_up);
        let any = up.values().any(|up| *up);
        self.readiness.update(|readiness| readiness.ready = any);
        before != Some(is_up)
    }
}
