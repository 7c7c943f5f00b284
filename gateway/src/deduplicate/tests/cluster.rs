//! A cluster in memory with the guarantees of the API server.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;
use wire::remediation_request::{RemediationRequest, RemediationRequestSpec, phase_is_active};

use crate::cluster::{Cause, Error, Pointer, Requests};
use crate::deduplicate::Trail;
use crate::domain::fingerprint::Fingerprint;
use crate::domain::index::Record;
use crate::domain::request;

/// The fate of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is executed, but the response is lost; the retry finds its effect.
    ResponseLost,
    /// Another writer is first.
    Conflict,
    /// The API is unavailable.
    Unavailable,
}

/// A cluster with the guarantees of the API server: unique names, versions, namespaces.
#[derive(Clone, Default)]
pub(super) struct Cluster(Arc<Mutex<Inner>>, usize);

#[derive(Default)]
pub(super) struct Inner {
    /// By namespace and name.
    pub(super) objects: BTreeMap<(String, String), Record>,
    version: u64,
    /// The parts of the counts by uid and writer.
    parts: BTreeMap<(String, usize), i64>,
    /// The number of writers.
    writers: usize,
    /// By fingerprint.
    pointers: BTreeMap<String, Pointer>,
    /// By uid.
    specs: BTreeMap<String, RemediationRequestSpec>,
    /// All changes of requests, in order.
    pub(super) changes: Vec<Change>,
    /// Moments at which an incident had more than one active request.
    pub(super) violations: Vec<String>,
    /// The uids of announced requests.
    pub(super) announced: Vec<String>,
    /// Missing namespaces.
    pub(super) missing: Vec<String>,
    /// The fates of the next writes, one each.
    pub(super) faults: Vec<Fault>,
    /// The random fates of all writes.
    pub(super) random: Option<fastrand::Rng>,
    /// The random fates of counts: some fail, and of those some are executed.
    pub(super) lost_counts: Option<fastrand::Rng>,
    /// Number of writes.
    pub(super) writes: usize,
}

/// A change, as a watch shows it.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Applied(Record),
    Deleted(Fingerprint, String),
}

impl Inner {
    fn applied(&mut self, record: &Record) {
        self.changes.push(Change::Applied(record.clone()));
        let active = self
            .objects
            .values()
            .filter(|other| other.active && other.fingerprint == record.fingerprint);
        let names: Vec<String> = active
            .map(|record| format!("{}/{}", record.namespace, record.name))
            .collect();
        if names.len() > 1 {
            self.violations.push(format!("{names:?} are active"));
        }
    }

    fn fault(&mut self) -> Option<Fault> {
        self.writes += 1;
        if let Some(random) = &mut self.random {
            let faults = [Fault::ResponseLost, Fault::Conflict];
            return (random.u8(..) < 80).then(|| faults[random.usize(..2)]);
        }
        (!self.faults.is_empty()).then(|| self.faults.remove(0))
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }
}

impl Cluster {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Yields to other tasks, so that every order of their steps occurs.
    async fn pause(&self) {
        let turns = self.lock().random.as_mut().map_or(1, |random| random.usize(..4));
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    /// The cluster as another process sees it.
    pub(super) fn as_writer(&self) -> Self {
        let writer = {
            let mut inner = self.lock();
            inner.writers += 1;
            inner.writers
        };
        Self(Arc::clone(&self.0), writer)
    }

    /// A request as this process sees it.
    pub(super) fn view(&self, inner: &Inner, mut record: Record) -> Record {
        let part = inner.parts.get(&(record.uid.clone(), self.1));
        record.own = part.copied().unwrap_or_default();
        record
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.lock().objects.values().cloned().collect()
    }

    /// Deletes the request if it still exists, and returns its last state.
    pub(super) fn delete(&self, record: &Record) -> Option<Record> {
        let mut inner = self.lock();
        let key = (record.namespace.clone(), record.name.clone());
        if inner.objects.get(&key)?.uid != record.uid {
            return None;
        }
        inner
            .changes
            .push(Change::Deleted(record.fingerprint, record.uid.clone()));
        inner.objects.remove(&key)
    }

    pub(super) fn set_phase(&self, record: &Record, phase: &str) {
        let mut inner = self.lock();
        let version = inner.next_version();
        let stored = inner
            .objects
            .get_mut(&(record.namespace.clone(), record.name.clone()))
            .unwrap();
        stored.active = phase_is_active(Some(phase));
        stored.resource_version = version;
        let stored = stored.clone();
        inner.applied(&stored);
    }
}

fn unavailable() -> Error {
    Error::Unavailable {
        cause: Cause::Unreachable,
        retry_after: Duration::from_secs(1),
        detail: String::new(),
    }
}

impl Trail for Cluster {
    async fn announce(&self, record: &Record, _: &RemediationRequestSpec) {
        self.lock().announced.push(record.uid.clone());
    }
}

impl Requests for Cluster {
    async fn pointer(&self, fingerprint: Fingerprint) -> Result<Option<Pointer>, Error> {
        self.pause().await;
        Ok(self.lock().pointers.get(&fingerprint.to_string()).cloned())
    }

    async fn point(
        &self,
        fingerprint: Fingerprint,
        known: Option<&Pointer>,
        namespace: &str,
        name: &str,
    ) -> Result<Pointer, Error> {
        self.pause().await;
        let inner = &mut *self.lock();
        let fault = inner.fault();
        if fault == Some(Fault::Unavailable) {
            return Err(unavailable());
        }
        let next = Pointer {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            resource_version: inner.next_version(),
        };
        let current = inner.pointers.get(&fingerprint.to_string());
        match (known, current) {
            (None, Some(_)) => return Err(Error::AlreadyExists),
            (Some(_), None) => return Err(Error::NotFound),
            (Some(known), Some(current)) if known != current => return Err(Error::Conflict),
            _ if fault == Some(Fault::Conflict) && known.is_some() => return Err(Error::Conflict),
            _ => {}
        }
        inner.pointers.insert(fingerprint.to_string(), next.clone());
        if fault == Some(Fault::ResponseLost) {
            return Err(if known.is_some() {
                Error::Conflict
            } else {
                Error::AlreadyExists
            });
        }
        Ok(next)
    }

    async fn create(&self, request: &RemediationRequest, _: Instant) -> Result<Record, Error> {
        self.pause().await;
        let inner = &mut *self.lock();
        let fault = inner.fault();
        if fault == Some(Fault::Unavailable) {
            return Err(unavailable());
        }
        let namespace = request.metadata.namespace.clone().unwrap();
        let name = request.metadata.name.clone().unwrap();
        if inner.missing.contains(&namespace) {
            return Err(Error::NoNamespace);
        }
        let version = inner.next_version();
        match inner.objects.entry((namespace.clone(), name.clone())) {
            Entry::Occupied(_) => Err(Error::AlreadyExists),
            Entry::Vacant(place) => {
                let record = Record {
                    fingerprint: Fingerprint::parse(&request.spec.signal_fingerprint).unwrap(),
                    namespace,
                    name,
                    uid: Uuid::new_v4().to_string(),
                    resource_version: version,
                    active: true,
                    created: Timestamp::UNIX_EPOCH,
                    first_seen: request.spec.received_time,
                    last_seen: request.spec.received_time,
                    count: 1,
                    own: 0,
                    stale_writers: Vec::new(),
                    signal_id: Some(
                        request.metadata.annotations.as_ref().unwrap()[request::SIGNAL_ID].clone(),
                    ),
                    counted: false,
                    announced: false,
                    ended: None,
                };
                place.insert(record.clone());
                inner.applied(&record);
                inner.specs.insert(record.uid.clone(), request.spec.clone());
                if fault == Some(Fault::ResponseLost) {
                    Err(Error::AlreadyExists)
                } else {
                    Ok(record)
                }
            }
        }
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<Option<Record>, Error> {
        self.pause().await;
        let inner = self.lock();
        let record = inner
            .objects
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned();
        Ok(record.map(|record| self.view(&inner, record)))
    }

    async fn describe(&self, namespace: &str, name: &str) -> Result<Option<RemediationRequest>, Error> {
        Ok(self.read(namespace, name).await?.map(|record| {
            let spec = self.lock().specs[&record.uid].clone();
            let mut request = RemediationRequest::new(name, spec);
            request.metadata.uid = Some(record.uid);
            request
        }))
    }

    async fn count(&self, record: &Record, own: i64, last_seen: Timestamp) -> Result<Record, Error> {
        self.pause().await;
        let mut inner = self.lock();
        let fault = inner.fault();
        if fault == Some(Fault::Unavailable) {
            return Err(unavailable());
        }
        let version = inner.next_version();
        let inner = &mut *inner;
        let fate = inner.lost_counts.as_mut().map_or(9, |random| random.u8(..10));
        if fate < 2 {
            return Err(unavailable());
        }
        let Some(stored) = inner
            .objects
            .get_mut(&(record.namespace.clone(), record.name.clone()))
        else {
            return Err(Error::NotFound);
        };
        if fault == Some(Fault::Conflict)
            || stored.resource_version != record.resource_version
            || stored.uid != record.uid
        {
            return Err(Error::Conflict);
        }
        stored.resource_version = version;
        stored.count = record.count - record.own + own;
        stored.last_seen = last_seen;
        stored.counted = true;
        let stored = stored.clone();
        inner.applied(&stored);
        inner.parts.insert((stored.uid.clone(), self.1), own);
        if fate < 5 {
            return Err(unavailable());
        }
        if fault == Some(Fault::ResponseLost) {
            Err(Error::Conflict)
        } else {
            Ok(self.view(inner, stored))
        }
    }
}
