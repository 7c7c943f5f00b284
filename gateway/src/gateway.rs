//! Processes a signal, from its fingerprint to its audit events.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;
use wire::audit::AuditEvent;

use crate::audit::events;
use crate::audit::spool::Spool;
use crate::cluster::kubernetes::Kubernetes;
use crate::cluster::owners::Owners;
use crate::cluster::watch::Progress;
use crate::cluster::{Cause, Error};
use crate::deduplicate::{Deduplicator, Outcome};
use crate::domain::fingerprint::Fingerprint;
use crate::domain::signal::Signal;
use crate::metrics::Metrics;

/// Processes signals. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    deduplicator: Deduplicator<Kubernetes>,
    spool: Arc<Spool>,
    metrics: Metrics,
    progress: watch::Receiver<Progress>,
    owners: Option<Arc<Owners>>,
}

/// A processed signal.
#[derive(Debug)]
pub struct Taken {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its result.
    pub result: Result<Outcome, Error>,
}

impl Gateway {
    /// Deduplicates through `deduplicator` once `progress` reports that the index is in sync, writes audit events to
    /// `spool` and counts in `metrics`. With `owners`, signals about objects of the same owner are one incident.
    #[must_use]
    pub fn new(
        deduplicator: Deduplicator<Kubernetes>,
        spool: Arc<Spool>,
        metrics: Metrics,
        progress: watch::Receiver<Progress>,
        owners: Option<Arc<Owners>>,
    ) -> Self {
        Self {
            deduplicator,
            spool,
            metrics,
            progress,
            owners,
        }
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Creates the signal's request or counts it, and stores its audit events.
    pub async fn take(&self, signal: Signal) -> Taken {
        self.metrics.received(signal.signal_type, signal.severity);
        let fingerprint = signal.fingerprint();
        if let Progress::Starting { detail } = &*self.progress.borrow() {
            let retry_after = Duration::from_secs(1);
            let error = Error::Unavailable {
                cause: Cause::NotSynced,
                retry_after,
                detail: detail.clone(),
            };
            return Taken {
                fingerprint,
                result: Err(error),
            };
        }
        let fingerprint = match self.fingerprint(&signal).await {
            Ok(fingerprint) => fingerprint,
            Err(error) => {
                tracing::warn!(%fingerprint, %error, "cannot look up the owner of a signal's target");
                self.metrics.creation_failed(error.kind());
                return Taken {
                    fingerprint,
                    result: Err(error),
                };
            }
        };
        let id = Uuid::now_v7();
        let result = self.deduplicator.submit(id, signal.clone(), fingerprint).await;
        let events = match &result {
            Ok(outcome) => {
                if outcome.duplicate {
                    self.metrics.deduplicated();
                } else {
                    self.metrics.created();
                }
                events::of_outcome(id, &signal, fingerprint, outcome)
            }
            Err(failure) => {
                tracing::warn!(%fingerprint, error = %failure.error, "a signal has no request");
                self.metrics.creation_failed(failure.error.kind());
                let name = failure.uncreated.as_deref();
                let event = name.map(|name| events::of_failure(&signal, fingerprint, name, failure));
                event.into_iter().collect()
            }
        };
        self.keep(&events).await;
        Taken {
            fingerprint,
            result: result.map_err(|failure| failure.error),
        }
    }

    async fn fingerprint(&self, signal: &Signal) -> Result<Fingerprint, Error> {
        match &self.owners {
            None => Ok(signal.fingerprint()),
            Some(owners) => Ok(Fingerprint::of_owner(&owners.top(&signal.target).await?)),
        }
    }

    async fn keep(&self, events: &[AuditEvent]) {
        let texts: Vec<Vec<u8>> = events
            .iter()
            .filter_map(|event| {
                serde_json::to_vec(event)
                    .inspect_err(|error| tracing::error!(%error, "cannot store an audit event"))
                    .ok()
            })
            .collect();
        if !texts.is_empty() {
            self.spool.append(texts).await;
        }
    }
}
