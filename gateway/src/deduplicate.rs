//! One active request of each problem, and every signal counted once.
//!
//! Signals of the same problem that arrive while the cluster is being written to wait as a group, and the group is
//! counted with the next write: a storm of one alert costs the API server one write at a time, not one an alert. A
//! signal is answered when the write that includes it is stored.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use uuid::Uuid;
use wire::remediation_request::Deduplication;

use crate::cluster::{Cause, Error, Requests};
use crate::domain::fingerprint::Fingerprint;
use crate::domain::index::{Head, Index, Record};
use crate::domain::request::{self, Place};
use crate::domain::signal::Signal;

/// How many requests of a problem's past are walked through to find the one that comes next. The index knows the last
/// one, so that more than a few steps mean that others make and end requests faster than they can be seen.
const MAX_STEPS: usize = 32;
/// How often a count is tried anew because others wrote in between.
const MAX_CONFLICTS: usize = 64;
/// The longest wait before the next of those tries; they are spread over it.
const CONFLICT_WAIT: Duration = Duration::from_millis(10);

/// What became of a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The namespace of its request.
    pub namespace: String,
    /// The name of its request.
    pub name: String,
    /// Whether the request was there before.
    pub duplicate: bool,
    /// Signals up to and with this one.
    pub count: i64,
    /// When the first of them came.
    pub first_seen: Timestamp,
    /// When this one came, or a later one that was stored with it.
    pub last_seen: Timestamp,
}

/// Why a signal has no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the cluster said.
    pub error: Error,
    /// The name of the request that could not be made; none where an existing one could not be counted.
    pub uncreated: Option<String>,
}

/// Signals that wait for the same write.
struct Waiting {
    id: Uuid,
    signal: Signal,
    answer: oneshot::Sender<Result<Outcome, Failure>>,
}

/// Cheap to clone; all clones deduplicate against each other.
pub struct Deduplicator<R> {
    shared: Arc<Shared<R>>,
}

struct Shared<R> {
    requests: R,
    index: Arc<Mutex<Index>>,
    /// The groups that wait, by problem. A problem that is here has a task that works on it.
    groups: Mutex<HashMap<Fingerprint, Vec<Waiting>>>,
    fallback_namespace: String,
    interval: Duration,
}

impl<R> Clone for Deduplicator<R> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<R: Requests> Deduplicator<R> {
    /// Writes through `requests` and knows what is in the cluster from `index`. Requests whose namespace does not
    /// exist are made in `fallback_namespace`. A problem is written to at most once an `interval`.
    pub fn new(
        requests: R,
        index: Arc<Mutex<Index>>,
        fallback_namespace: String,
        interval: Duration,
    ) -> Self {
        let groups = Mutex::default();
        Self {
            shared: Arc::new(Shared {
                requests,
                index,
                groups,
                fallback_namespace,
                interval,
            }),
        }
    }

    /// Makes the signal's request or counts the signal on it; `id` is the signal's own. Goes on to its end also when
    /// the caller no longer waits.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn submit(
        &self,
        id: Uuid,
        signal: Signal,
        fingerprint: Fingerprint,
    ) -> Result<Outcome, Failure> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { id, signal, answer };
        let is_first = {
            let mut groups = lock(&self.shared.groups);
            let is_first = !groups.contains_key(&fingerprint);
            groups.entry(fingerprint).or_default().push(waiting);
            is_first
        };
        if is_first {
            tokio::spawn(Arc::clone(&self.shared).work(fingerprint));
        }
        answered.await.unwrap_or_else(|_| {
            Err(Failure {
                error: Error::Refused {
                    status: 0,
                    detail: "the task that counts ended early".to_owned(),
                },
                uncreated: None,
            })
        })
    }
}

impl<R: Requests> Shared<R> {
    /// Works on one problem until nobody waits for it.
    async fn work(self: Arc<Self>, fingerprint: Fingerprint) {
        // If this panics, the next signal must find no group, or it would wait for ever.
        let _cleared = Cleared {
            shared: &self,
            fingerprint,
        };
        loop {
            let begun = Instant::now();
            let group = {
                let mut groups = lock(&self.groups);
                let group = groups.get_mut(&fingerprint).map(mem::take).unwrap_or_default();
                if group.is_empty() {
                    groups.remove(&fingerprint);
                    return;
                }
                group
            };
            self.store(fingerprint, group).await;
            tokio::time::sleep(self.interval.saturating_sub(begun.elapsed())).await;
        }
    }

    /// Stores one group and answers each of it.
    async fn store(&self, fingerprint: Fingerprint, mut group: Vec<Waiting>) {
        let mut occupied = None;
        for _ in 0..MAX_STEPS {
            if group.is_empty() {
                return;
            }
            let head = lock(&self.index).head(fingerprint, Instant::now());
            match head {
                Head::Active(record) => match self.count(&record, &group).await {
                    Ok(Some(stored)) => return answer_counted(group, &stored),
                    Ok(None) => {}
                    Err(error) => {
                        return fail(
                            group,
                            &Failure {
                                error,
                                uncreated: None,
                            },
                        );
                    }
                },
                Head::Next(predecessor) => {
                    let name = request::name(fingerprint, occupied.take().or(predecessor).as_deref());
                    let first = &group[0];
                    match self.create(fingerprint, first, &name).await {
                        Ok(Created::Ours(record)) => answer_created(group.remove(0), &record),
                        Ok(Created::Others(record)) => {
                            // The name is of another problem that begins with the same digits: go past it.
                            occupied = (record.fingerprint != fingerprint).then(|| record.uid.clone());
                        }
                        Ok(Created::Vanished) => {}
                        Err(error) => {
                            return fail(
                                group,
                                &Failure {
                                    error,
                                    uncreated: Some(name),
                                },
                            );
                        }
                    }
                }
            }
        }
        let detail = format!("the problem's requests changed {MAX_STEPS} times while it was looked at");
        fail(
            group,
            &Failure {
                error: contended(detail),
                uncreated: None,
            },
        );
    }

    /// Adds the group to the record's count. None if the record is no longer the active one; the index knows better
    /// then.
    async fn count(&self, record: &Record, group: &[Waiting]) -> Result<Option<Record>, Error> {
        let added = i64::try_from(group.len()).unwrap_or(i64::MAX);
        let mut record = record.clone();
        for _ in 0..MAX_CONFLICTS {
            let wanted = Deduplication {
                first_seen_at: record.first_seen,
                last_seen_at: unique_after(record.last_seen),
                occurrence_count: record.count.saturating_add(added),
            };
            match self.requests.count(&record, &wanted).await {
                Ok(stored) => {
                    lock(&self.index).observe(stored.clone());
                    return Ok(Some(stored));
                }
                Err(Error::Conflict | Error::NotFound | Error::NoNamespace) => {}
                Err(error) => return Err(error),
            }
            match self.requests.read(&record.namespace, &record.name).await? {
                Some(current) if current.uid == record.uid => {
                    lock(&self.index).observe(current.clone());
                    let ours = current.count == wanted.occurrence_count
                        && current.last_seen == wanted.last_seen_at
                        && current.resource_version != record.resource_version;
                    if ours {
                        // It was stored by a try whose answer was lost.
                        return Ok(Some(current));
                    }
                    if !current.active {
                        return Ok(None);
                    }
                    record = current;
                }
                other => {
                    let mut index = lock(&self.index);
                    index.forget(record.fingerprint, &record.uid, Instant::now());
                    if let Some(successor) = other {
                        index.observe(successor);
                    }
                    return Ok(None);
                }
            }
            tokio::time::sleep(CONFLICT_WAIT.mul_f64(fastrand::f64())).await;
        }
        Err(contended(format!(
            "others changed the request's status {MAX_CONFLICTS} times in between"
        )))
    }

    /// Creates the request of that name, or finds out whose it is.
    async fn create(&self, fingerprint: Fingerprint, first: &Waiting, name: &str) -> Result<Created, Error> {
        let signal = &first.signal;
        let in_own = request::is_namespace_name(&signal.target.namespace);
        let own = if in_own {
            self.create_in(fingerprint, first, name, Place::Own).await
        } else {
            Err(Error::NoNamespace)
        };
        match own {
            Err(Error::NoNamespace) => {
                match self
                    .create_in(
                        fingerprint,
                        first,
                        name,
                        Place::Fallback(&self.fallback_namespace),
                    )
                    .await
                {
                    Err(Error::NoNamespace) => Err(Error::Refused {
                        status: 404,
                        detail: "neither the signal's namespace nor the fallback namespace exists".to_owned(),
                    }),
                    other => other,
                }
            }
            other => other,
        }
    }

    async fn create_in(
        &self,
        fingerprint: Fingerprint,
        first: &Waiting,
        name: &str,
        place: Place<'_>,
    ) -> Result<Created, Error> {
        let wanted = request::build(&first.signal, fingerprint, first.id, name, place);
        match self.requests.create(&wanted).await {
            Ok(record) => {
                lock(&self.index).observe(record.clone());
                Ok(Created::Ours(record))
            }
            Err(Error::AlreadyExists) => {
                let namespace = wanted.metadata.namespace.as_deref().unwrap_or_default();
                let Some(record) = self.requests.read(namespace, name).await? else {
                    return Ok(Created::Vanished);
                };
                lock(&self.index).observe(record.clone());
                let is_ours = record.signal_id.as_deref() == Some(first.id.to_string().as_str());
                Ok(if is_ours {
                    Created::Ours(record)
                } else {
                    Created::Others(record)
                })
            }
            Err(error) => Err(error),
        }
    }
}

/// Who made the request of a name.
enum Created {
    /// We did, for this signal.
    Ours(Record),
    /// Somebody else was first.
    Others(Record),
    /// Somebody else, and it is gone already.
    Vanished,
}

fn answer_created(waiting: Waiting, record: &Record) {
    let received = waiting.signal.received_time;
    let outcome = Outcome {
        namespace: record.namespace.clone(),
        name: record.name.clone(),
        duplicate: false,
        count: 1,
        first_seen: received,
        last_seen: received,
    };
    // Who no longer waits is not told.
    let _ = waiting.answer.send(Ok(outcome));
}

/// The last of the group has the count that was stored; each before it one less.
fn answer_counted(group: Vec<Waiting>, stored: &Record) {
    let size = i64::try_from(group.len()).unwrap_or(i64::MAX);
    for (count, waiting) in (stored.count.saturating_sub(size).saturating_add(1)..).zip(group) {
        let _ = waiting.answer.send(Ok(Outcome {
            namespace: stored.namespace.clone(),
            name: stored.name.clone(),
            duplicate: true,
            count,
            first_seen: stored.first_seen,
            last_seen: stored.last_seen,
        }));
    }
}

fn fail(group: Vec<Waiting>, failure: &Failure) {
    for waiting in group {
        let _ = waiting.answer.send(Err(failure.clone()));
    }
}

/// The time now, but after `last`. It marks the write: whoever finds it stored knows whose write that was. Replicas
/// that write at once would both take the latest signal's time, or the one that stands there already.
fn unique_after(last: Timestamp) -> Timestamp {
    let now = Timestamp::now();
    if now > last {
        return now;
    }
    let step = SignedDuration::from_nanos(fastrand::i64(1..1_000_000));
    last.checked_add(step).unwrap_or(last)
}

fn contended(detail: String) -> Error {
    Error::Unavailable {
        cause: Cause::Contended,
        retry_after: Duration::from_secs(1),
        detail,
    }
}

struct Cleared<'a, R> {
    shared: &'a Shared<R>,
    fingerprint: Fingerprint,
}

impl<R> Drop for Cleared<'_, R> {
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
