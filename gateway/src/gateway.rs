//! Processes a signal, from its fingerprint to its audit events.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;
use wire::webhook::Labels;

use crate::audit::events;
use crate::audit::trail::SpoolTrail;
use crate::cluster::kubernetes::Kubernetes;
use crate::cluster::owners::Owners;
use crate::cluster::watch::Progress;
use crate::cluster::{Cause, Error};
use crate::deduplicate::{Deduplicator, Outcome};
use crate::domain::fingerprint::Fingerprint;
use crate::domain::signal::Signal;
use crate::metrics::Metrics;
use crate::unresolved::{Queue, Unresolved};

/// Processes signals. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    deduplicator: Deduplicator<Kubernetes, SpoolTrail>,
    trail: SpoolTrail,
    unresolved: Queue,
    metrics: Metrics,
    progress: watch::Receiver<Progress>,
    owners: Option<Arc<Owners>>,
}

/// A processed signal.
#[derive(Debug)]
pub struct Taken {
    /// Its id.
    pub id: Uuid,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its result.
    pub result: Result<Outcome, Error>,
}

impl Gateway {
    /// Deduplicates through `deduplicator` once `progress` reports that the index is in sync, writes audit events to
    /// `trail` and counts in `metrics`. Signals whose request may or may not exist go to `unresolved`. With `owners`, signals about objects of the same owner are one incident.
    #[must_use]
    pub fn new(
        deduplicator: Deduplicator<Kubernetes, SpoolTrail>,
        trail: SpoolTrail,
        unresolved: Queue,
        metrics: Metrics,
        progress: watch::Receiver<Progress>,
        owners: Option<Arc<Owners>>,
    ) -> Self {
        Self {
            deduplicator,
            trail,
            unresolved,
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

    /// Creates the signal's request or counts it, and stores its audit events. `id` is that of an earlier attempt, which
    /// may have created the request.
    pub async fn take(&self, signal: Signal, id: Option<Uuid>) -> Taken {
        let id = id.unwrap_or_else(Uuid::now_v7);
        self.metrics.received(signal.signal_type, signal.severity);
        let fingerprint = signal.fingerprint();
        if let Err(error) = self.check_synced() {
            return Taken {
                id,
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
                    id,
                    fingerprint,
                    result: Err(error),
                };
            }
        };
        let result = self.deduplicator.submit(id, signal.clone(), fingerprint).await;
        match &result {
            Ok(outcome) if outcome.suppressed => {
                self.metrics.ignored();
                let event = events::of_suppressed(id, &signal, fingerprint, outcome);
                self.trail.write(&[event]).await;
            }
            Ok(outcome) if outcome.duplicate => {
                self.metrics.deduplicated();
                let event = events::of_duplicate(id, &signal, fingerprint, outcome);
                self.trail.write(&[event]).await;
            }
            Ok(_) => self.metrics.created(),
            Err(failure) => {
                tracing::warn!(%fingerprint, error = %failure.error, "a signal has no request");
                self.metrics.creation_failed(failure.error.kind());
                if let Some(name) = failure.uncreated.clone() {
                    let error = failure.error.clone();
                    // Its texts are in no audit event, and many signals may wait.
                    let signal = Signal {
                        labels: Labels::new(),
                        annotations: Labels::new(),
                        payload: None,
                        ..signal
                    };
                    let unresolved = Unresolved {
                        id,
                        signal,
                        fingerprint,
                        name,
                        error,
                    };
                    self.unresolved.failed(unresolved).await;
                }
            }
        }
        Taken {
            id,
            fingerprint,
            result: result.map_err(|failure| failure.error),
        }
    }

    /// Notes on the active request, and in the audit trail, that a signal is resolved.
    ///
    /// # Errors
    /// The signal should be sent again.
    pub async fn resolve(&self, signal: &Signal) -> Result<(), Error> {
        self.check_synced()?;
        let fingerprint = self.fingerprint(signal).await?;
        match self.deduplicator.resolve(fingerprint, signal.received_time).await {
            Ok(None) => Ok(()),
            Ok(Some(record)) => {
                let event = events::of_resolved(signal, fingerprint, &record);
                self.trail.write(&[event]).await;
                Ok(())
            }
            Err(error) if error.is_passing() => Err(error),
            Err(error) => {
                tracing::warn!(%fingerprint, %error, "cannot note on a request that its signal is resolved");
                Ok(())
            }
        }
    }

    fn check_synced(&self) -> Result<(), Error> {
        match &*self.progress.borrow() {
            Progress::Starting { detail } => Err(Error::Unavailable {
                cause: Cause::NotSynced,
                retry_after: Duration::from_secs(1),
                detail: detail.clone(),
            }),
            Progress::Synced | Progress::Broken { .. } => Ok(()),
        }
    }

    async fn fingerprint(&self, signal: &Signal) -> Result<Fingerprint, Error> {
        match &self.owners {
            // Without a target there is no owner, and objects of another cluster are not in this one.
            Some(owners) if signal.distinction.labels.is_none() => {
                let target = &signal.target;
                let owner = match signal.distinction.elsewhere {
                    true => target.clone(),
                    false => owners.top(target).await?,
                };
                Ok(Fingerprint::of_owner(&owner).distinguished(&signal.distinction))
            }
            _ => Ok(signal.fingerprint()),
        }
    }
}
