//! Corrects counts whose write failed but may have been executed.
//!
//! Their signals were not acknowledged, and are sent again. This process' part of the count is an absolute number: the
//! next write corrects it, or, when no further signal arrives, a write of its own.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Shared, Trail, lock};
use crate::cluster::{Error, Requests};
use crate::domain::fingerprint::Fingerprint;
use crate::domain::index::Record;

/// The delay between two attempts.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a correction is attempted.
const PATIENCE: Duration = Duration::from_secs(300);

/// A request whose count may be too large.
#[derive(Clone)]
pub(super) struct Unsettled {
    record: Record,
    /// The part of the count that was acknowledged by this process.
    own: i64,
    since: Instant,
}

impl<R: Requests, T: Trail> Shared<R, T> {
    /// The number of signals that this process has counted and acknowledged on a request.
    pub(super) fn acknowledged(&self, record: &Record) -> i64 {
        let unsettled = lock(&self.unsettled);
        let of_incident = unsettled.get(&record.fingerprint).into_iter().flatten();
        let mut known = of_incident.filter(|unsettled| unsettled.record.uid == record.uid);
        known.next().map_or(record.own, |unsettled| unsettled.own)
    }

    /// Records that a count failed and may have been executed; `record` is as it was read last.
    pub(super) fn unsettled(&self, record: &Record) {
        let unsettled = Unsettled {
            own: self.acknowledged(record),
            record: record.clone(),
            since: Instant::now(),
        };
        self.settled(record);
        lock(&self.unsettled)
            .entry(record.fingerprint)
            .or_default()
            .push(unsettled);
    }

    /// Records that this process' part of the count is right.
    pub(super) fn settled(&self, record: &Record) {
        let mut unsettled = lock(&self.unsettled);
        if let Some(of_incident) = unsettled.get_mut(&record.fingerprint) {
            of_incident.retain(|unsettled| unsettled.record.uid != record.uid);
            if of_incident.is_empty() {
                unsettled.remove(&record.fingerprint);
            }
        }
    }

    /// Attempts to correct the counts of an incident's requests.
    pub(super) async fn settle(&self, fingerprint: Fingerprint) {
        let of_incident = lock(&self.unsettled)
            .get(&fingerprint)
            .cloned()
            .unwrap_or_default();
        for Unsettled { record, own, since } in of_incident {
            if self.correct(&record, own).await.is_ok() {
                self.settled(&record);
            } else if since.elapsed() > PATIENCE {
                let name = &record.name;
                tracing::warn!(
                    name,
                    "the count of a request may be too large: the Kubernetes API is unavailable"
                );
                self.settled(&record);
            } else {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn correct(&self, record: &Record, own: i64) -> Result<(), Error> {
        let current = self.requests.read(&record.namespace, &record.name).await?;
        let Some(current) = current.filter(|current| current.uid == record.uid) else {
            return Ok(());
        };
        // Written even where it is right: the failed write may still arrive, and is then based on an old version.
        let last_seen = current.last_seen.max(Timestamp::now());
        let stored = self.requests.count(&current, own, last_seen).await?;
        lock(&self.index).observe(stored);
        Ok(())
    }
}
