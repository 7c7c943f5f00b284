//! Signals whose request may or may not have been created: the call was sent, and no response arrived.
//!
//! The cluster is asked until it answers, and the audit trail gets what it shows: the events of the creation, or its
//! failure. One task asks, in the order of the failures, and the number of waiting signals is bounded.

use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::audit::events;
use crate::audit::trail::SpoolTrail;
use crate::cluster::{Error, Requests};
use crate::deduplicate::Trail;
use crate::domain::fingerprint::Fingerprint;
use crate::domain::request::is_namespace_name;
use crate::domain::signal::Signal;

/// Maximum number of waiting signals; a further one is recorded as failed.
const MAX_WAITING: usize = 1_024;
/// The delay between two attempts while the cluster is unavailable.
const AGAIN: Duration = Duration::from_secs(1);

/// A signal whose request may exist.
pub struct Unresolved {
    /// The id of the signal.
    pub id: uuid::Uuid,
    /// The signal.
    pub signal: Signal,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// The name under which its request was to be created.
    pub name: String,
    /// The error of the call.
    pub error: Error,
}

/// Accepts signals for [`Resolver`]. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    signals: mpsc::Sender<Unresolved>,
    trail: SpoolTrail,
}

/// The task that asks.
pub struct Resolver<R> {
    requests: R,
    fallback_namespace: String,
    signals: mpsc::Receiver<Unresolved>,
    trail: SpoolTrail,
}

/// Creates a queue and its task.
pub fn channel<R: Requests>(
    requests: R,
    fallback_namespace: String,
    trail: SpoolTrail,
) -> (Queue, Resolver<R>) {
    let (sender, signals) = mpsc::channel(MAX_WAITING);
    let queue = Queue {
        signals: sender,
        trail: trail.clone(),
    };
    let resolver = Resolver {
        requests,
        fallback_namespace,
        signals,
        trail,
    };
    (queue, resolver)
}

impl Queue {
    /// Records the failure of a creation once it is certain.
    pub async fn failed(&self, unresolved: Unresolved) {
        let unresolved = if unresolved.error.is_unknown() {
            match self.signals.try_send(unresolved) {
                Ok(()) => return,
                Err(TrySendError::Full(unresolved) | TrySendError::Closed(unresolved)) => unresolved,
            }
        } else {
            unresolved
        };
        write_failure(&self.trail, &unresolved).await;
    }
}

impl<R: Requests> Resolver<R> {
    /// Resolves signals until `stop` completes or is dropped; those that wait then are recorded as failed.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            let unresolved = tokio::select! {
                _ = &mut stop => break,
                Some(unresolved) = self.signals.recv() => unresolved,
                else => break,
            };
            tokio::select! {
                _ = &mut stop => {
                    write_failure(&self.trail, &unresolved).await;
                    break;
                }
                () = self.resolve(&unresolved) => {}
            }
        }
        self.signals.close();
        while let Some(unresolved) = self.signals.recv().await {
            write_failure(&self.trail, &unresolved).await;
        }
    }

    /// Returns when the cluster has shown whether the request exists, and the events are written.
    async fn resolve(&self, unresolved: &Unresolved) {
        let own = Some(unresolved.signal.target.namespace.as_str()).filter(|name| is_namespace_name(name));
        for namespace in own.into_iter().chain([self.fallback_namespace.as_str()]) {
            let record = loop {
                match self.requests.read(namespace, &unresolved.name).await {
                    Ok(record) => break record,
                    Err(error) if error.is_passing() => tokio::time::sleep(AGAIN).await,
                    Err(error) => {
                        tracing::warn!(%error, name = unresolved.name, "cannot read a request after its creation failed");
                        break None;
                    }
                }
            };
            let signal_id = unresolved.id.to_string();
            if let Some(record) = record.filter(|record| record.signal_id.as_ref() == Some(&signal_id)) {
                let spec = crate::domain::request::spec(&unresolved.signal, unresolved.fingerprint);
                self.trail.announce(&record, &spec).await;
                return;
            }
        }
        write_failure(&self.trail, unresolved).await;
    }
}

async fn write_failure(trail: &SpoolTrail, unresolved: &Unresolved) {
    let Unresolved {
        signal,
        fingerprint,
        name,
        error,
        ..
    } = unresolved;
    trail
        .write(&[events::of_failure(signal, *fingerprint, name, error)])
        .await;
}
