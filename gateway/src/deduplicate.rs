//! One active request per incident, and every signal counted once.
//!
//! Signals of one incident that arrive during a write to the cluster form a group, and the group is counted by the
//! next write: a storm of one alert costs the API server one write at a time, not one per alert. A signal is
//! acknowledged when the write that includes it is stored.

mod creating;
mod replies;
mod settling;
mod storing;

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;
use uuid::Uuid;

use wire::remediation_request::RemediationRequestSpec;

use self::settling::Unsettled;
use crate::cluster::kubernetes::Kubernetes;
use crate::cluster::{Error, Requests};
use crate::domain::fingerprint::Fingerprint;
use crate::domain::index::{Index, Record};
use crate::domain::signal::Signal;

/// The result of a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The namespace of its request.
    pub namespace: String,
    /// The name of its request.
    pub name: String,
    /// Whether the request existed before.
    pub duplicate: bool,
    /// Whether the request ended, and is in the cool-down of its outcome: the signal is not counted.
    pub suppressed: bool,
    /// Number of signals up to and including this one.
    pub count: i64,
    /// When the first of them arrived.
    pub first_seen: Timestamp,
    /// When this one arrived, or a later one that was stored with it.
    pub last_seen: Timestamp,
}

/// Why a signal has no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error of the cluster.
    pub error: Error,
    /// The name of the request that could not be created; `None` where an existing one could not be counted.
    pub uncreated: Option<String>,
}

/// A signal that waits for the write that counts it.
struct Waiting {
    id: Uuid,
    signal: Signal,
    reply: oneshot::Sender<Result<Outcome, Failure>>,
}

/// Receives what is known of created requests.
pub trait Trail: Send + Sync + 'static {
    /// Stores the audit events of a request's creation; returns when they are stored. It may be called more than once
    /// for a request, by any replica.
    fn announce(&self, record: &Record, spec: &RemediationRequestSpec) -> impl Future<Output = ()> + Send;
}

/// Cheap to clone; all clones deduplicate against each other.
pub struct Deduplicator<R, T> {
    shared: Arc<Shared<R, T>>,
}

struct Shared<R, T> {
    requests: R,
    trail: T,
    index: Arc<Mutex<Index>>,
    /// Counts that may have been written although they failed.
    unsettled: Mutex<HashMap<Fingerprint, Vec<Unsettled>>>,
    /// The waiting groups by fingerprint. Each has a task that works on it.
    groups: Mutex<HashMap<Fingerprint, Vec<Waiting>>>,
    fallback_namespace: String,
    interval: Duration,
}

impl<R, T> Clone for Deduplicator<R, T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<R: Requests, T: Trail> Deduplicator<R, T> {
    /// Writes through `requests`, reads the cluster's requests from `index`, and reports created ones to `trail`.
    /// Requests whose namespace does not
    /// exist are created in `fallback_namespace`. An incident is written to at most once per `interval`.
    pub fn new(
        requests: R,
        trail: T,
        index: Arc<Mutex<Index>>,
        fallback_namespace: String,
        interval: Duration,
    ) -> Self {
        let (groups, unsettled) = (Mutex::default(), Mutex::default());
        Self {
            shared: Arc::new(Shared {
                requests,
                trail,
                index,
                unsettled,
                groups,
                fallback_namespace,
                interval,
            }),
        }
    }

    /// Creates the signal's request or counts the signal on it; `id` is the signal's own. Completes even when the
    /// client has stopped waiting.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn submit(
        &self,
        id: Uuid,
        signal: Signal,
        fingerprint: Fingerprint,
    ) -> Result<Outcome, Failure> {
        let (reply, response) = oneshot::channel();
        let waiting = Waiting { id, signal, reply };
        let is_first = {
            let mut groups = lock(&self.shared.groups);
            let is_first = !groups.contains_key(&fingerprint);
            groups.entry(fingerprint).or_default().push(waiting);
            is_first
        };
        if is_first {
            tokio::spawn(Arc::clone(&self.shared).work(fingerprint));
        }
        response.await.unwrap_or_else(|_| {
            Err(Failure {
                error: Error::Rejected {
                    status: 0,
                    detail: "the counting task ended early".to_owned(),
                },
                uncreated: None,
            })
        })
    }
}

impl<T: Trail> Deduplicator<Kubernetes, T> {
    /// Notes on the incident's active request that the signal is resolved; `None` without one.
    ///
    /// # Errors
    /// The cluster is unavailable, or rejects it.
    pub async fn resolve(&self, fingerprint: Fingerprint, at: Timestamp) -> Result<Option<Record>, Error> {
        let Some(record) = lock(&self.shared.index).active(fingerprint) else {
            return Ok(None);
        };
        match self.shared.requests.resolve(&record, at).await {
            Ok(stored) => {
                lock(&self.shared.index).observe(stored.clone());
                Ok(Some(stored))
            }
            Err(Error::NotFound | Error::NoNamespace | Error::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<R: Requests, T: Trail> Shared<R, T> {
    /// Works on one incident until no signal waits.
    async fn work(self: Arc<Self>, fingerprint: Fingerprint) {
        // After a panic the next signal must find no group, or it would wait forever.
        let _cleared = Cleared {
            shared: &self,
            fingerprint,
        };
        loop {
            let begun = Instant::now();
            let group = {
                let mut groups = lock(&self.groups);
                let group = groups.get_mut(&fingerprint).map(mem::take).unwrap_or_default();
                if group.is_empty() && !lock(&self.unsettled).contains_key(&fingerprint) {
                    groups.remove(&fingerprint);
                    return;
                }
                group
            };
            if group.is_empty() {
                self.settle(fingerprint).await;
            } else {
                self.store(fingerprint, group).await;
            }
            tokio::time::sleep(self.interval.saturating_sub(begun.elapsed())).await;
        }
    }
}

/// Removes an incident's group when its task panics.
struct Cleared<'a, R, T> {
    shared: &'a Shared<R, T>,
    fingerprint: Fingerprint,
}

impl<R, T> Drop for Cleared<'_, R, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.shared.groups).remove(&self.fingerprint);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
