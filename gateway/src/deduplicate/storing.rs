//! Stores one group: counts it on the active request, or creates the next one.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::creating::Step;
use super::replies::{fail, reply_counted, reply_created, reply_suppressed};
use super::{Shared, Trail, Waiting, lock};
use crate::cluster::{Cause, Error, Requests};
use crate::domain::fingerprint::Fingerprint;
use crate::domain::index::Record;

/// Maximum number of steps to the current request. More than a few mean that other writers create and end requests
/// faster than they can be read.
const MAX_STEPS: usize = 32;
/// Maximum number of retries of a count after concurrent writes.
const MAX_CONFLICTS: usize = 64;
/// Maximum number of retries of a count after lost responses.
const MAX_LOST: usize = 3;
/// Maximum delay before such a retry; the delays are spread.
const CONFLICT_WAIT: Duration = Duration::from_millis(10);

impl<R: Requests, T: Trail> Shared<R, T> {
    /// Stores one group and sends the results.
    pub(super) async fn store(&self, fingerprint: Fingerprint, mut group: Vec<Waiting>) {
        for _ in 0..MAX_STEPS {
            if group.is_empty() {
                return;
            }
            let active = lock(&self.index).active(fingerprint);
            if let Some(mut record) = active {
                let creator = record
                    .signal_id
                    .as_deref()
                    .and_then(|id| Uuid::parse_str(id).ok());
                if let Some(ours) = group.iter().position(|waiting| Some(waiting.id) == creator) {
                    // An earlier attempt, whose response was lost, has created it.
                    match self.announce_others(&mut record).await {
                        Ok(()) => reply_created(group.remove(ours), &record),
                        Err(error) => return fail(group, error, None),
                    }
                    continue;
                }
                match self.count(&record, &group).await {
                    Ok(Some(stored)) => return reply_counted(group, &stored),
                    Ok(None) => {}
                    Err(error) => return fail(group, error, None),
                }
                continue;
            }
            let cooling = lock(&self.index).cooling(fingerprint, Timestamp::now());
            if let Some(ended) = cooling {
                return reply_suppressed(group, &ended);
            }
            match self.next(fingerprint, &group[0]).await {
                Ok(Step::Created(record)) => reply_created(group.remove(0), &record),
                Ok(Step::Again) => {}
                Err((error, name)) => return fail(group, error, Some(name)),
            }
        }
        let detail = format!("the incident's requests changed {MAX_STEPS} times while they were read");
        fail(group, contended(detail), None);
    }

    /// Adds the group to the record's count. `None` if the record is no longer active; the index is updated then.
    async fn count(&self, record: &Record, group: &[Waiting]) -> Result<Option<Record>, Error> {
        let mut record = record.clone();
        self.announce_others(&mut record).await?;
        let result = self.count_on(&mut record, group).await;
        match &result {
            Ok(Some(_)) => self.settled(&record),
            // The request ended; an earlier count on it may still be wrong.
            Ok(None) => {}
            // The write may have been executed, or may still be.
            Err(_) => self.unsettled(&record),
        }
        result
    }

    async fn count_on(&self, record: &mut Record, group: &[Waiting]) -> Result<Option<Record>, Error> {
        let added = i64::try_from(group.len()).unwrap_or(i64::MAX);
        // This process alone writes its own part of the count, so that the part shows whether a write was executed.
        let own = self.acknowledged(record).saturating_add(added);
        let mut lost = 0;
        for _ in 0..MAX_CONFLICTS {
            let last_seen = record.last_seen.max(Timestamp::now());
            match self.requests.count(record, own, last_seen).await {
                Ok(stored) => {
                    lock(&self.index).observe(stored.clone());
                    return Ok(Some(stored));
                }
                Err(Error::Conflict | Error::NotFound | Error::NoNamespace) => {}
                Err(error) if error.is_unknown() && lost < MAX_LOST => lost += 1,
                Err(error) => return Err(error),
            }
            match self.requests.read(&record.namespace, &record.name).await? {
                Some(mut current) if current.uid == record.uid => {
                    current.announced |= record.announced;
                    lock(&self.index).observe(current.clone());
                    if current.own == own {
                        // An attempt whose response was lost has stored it.
                        return Ok(Some(current));
                    }
                    if !current.active {
                        return Ok(None);
                    }
                    *record = current;
                }
                other => {
                    let mut index = lock(&self.index);
                    index.forget(record.fingerprint, &record.uid);
                    if let Some(successor) = other {
                        index.observe(successor);
                    }
                    return Ok(None);
                }
            }
            tokio::time::sleep(CONFLICT_WAIT.mul_f64(fastrand::f64())).await;
        }
        Err(contended(format!(
            "concurrent writers changed the request's status {MAX_CONFLICTS} times"
        )))
    }

    /// Before the first count on a request of another process: its creator may have been killed, or may never have
    /// seen the response, so that nobody has written the events of its creation.
    async fn announce_others(&self, record: &mut Record) -> Result<(), Error> {
        if record.counted || record.announced {
            return Ok(());
        }
        match self.requests.describe(&record.namespace, &record.name).await {
            Ok(Some(request)) if request.metadata.uid.as_deref() == Some(&record.uid) => {
                self.trail.announce(record, &request.spec).await;
                record.announced = true;
                lock(&self.index).observe(record.clone());
            }
            Ok(_) => {}
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, name = record.name, "cannot read a request for its audit events")
            }
        }
        Ok(())
    }
}

pub(super) fn contended(detail: String) -> Error {
    Error::Unavailable {
        cause: Cause::Contended,
        retry_after: Duration::from_secs(1),
        detail,
    }
}
