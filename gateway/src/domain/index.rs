//! The index of the requests in the cluster: only what deduplication needs, so that ten thousand fit in a few
//! megabytes.
//!
//! The index may be stale. It is never trusted alone: a request is created under a name that can exist once, and
//! counted with the resourceVersion that was read, so that the API server rejects stale writes.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::fingerprint::Fingerprint;
use super::request;

/// How long a deleted request is kept as a predecessor. Replicas see a deletion at slightly different
/// times; while both keep it they derive the same next name, whichever of them has seen it.
const DELETED_TTL: Duration = Duration::from_secs(60);

/// One request of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// Whether it is active.
    pub active: bool,
    /// When the API server created it, in seconds.
    pub created: Timestamp,
    /// When its first signal arrived.
    pub first_seen: Timestamp,
    /// When its latest signal arrived.
    pub last_seen: Timestamp,
    /// Number of signals so far.
    pub count: i64,
    /// The signal that created it, if recorded.
    pub signal_id: Option<String>,
    /// Whether a signal was counted on it.
    pub counted: bool,
    /// Whether this process has written the audit events of its creation.
    pub announced: bool,
}

/// The head of an incident's chain of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// An active request.
    Active(Box<Record>),
    /// None; the next one follows the one with this uid, or is the first.
    Next(Option<String>),
}

/// All requests by fingerprint.
#[derive(Debug, Default)]
pub struct Index {
    incidents: HashMap<Fingerprint, Incident>,
    /// Incremented with each listing; entries learnt after the start of the latest one are newer than it.
    epoch: u64,
    listed: HashSet<String>,
}

#[derive(Debug, Default)]
struct Incident {
    records: Vec<(Record, u64)>,
    deleted: Option<Deleted>,
}

#[derive(Debug)]
struct Deleted {
    name: String,
    uid: String,
    created: Timestamp,
    at: Instant,
}

impl Index {
    /// Stores an observed request, unless a newer version is known.
    pub fn observe(&mut self, mut record: Record) {
        let epoch = self.epoch;
        let records = &mut self.incidents.entry(record.fingerprint).or_default().records;
        match records.iter_mut().find(|(known, _)| known.uid == record.uid) {
            Some((known, _)) if is_older(&record.resource_version, &known.resource_version) => {
                known.announced |= record.announced;
            }
            Some(known) => {
                record.announced |= known.0.announced;
                *known = (record, epoch);
            }
            None => records.push((record, epoch)),
        }
    }

    /// Removes a deleted request.
    pub fn forget(&mut self, fingerprint: Fingerprint, uid: &str, now: Instant) {
        let Some(incident) = self.incidents.get_mut(&fingerprint) else {
            return;
        };
        if let Some(position) = incident.records.iter().position(|(record, _)| record.uid == uid) {
            let (record, _) = incident.records.swap_remove(position);
            incident.record_deletion(&record, now);
        }
    }

    /// Starts a listing of all requests.
    pub fn begin_listing(&mut self) {
        self.epoch += 1;
        self.listed.clear();
    }

    /// Adds a request of the listing.
    pub fn observe_listed(&mut self, record: Record) {
        self.listed.insert(record.uid.clone());
        self.observe(record);
    }

    /// Ends the listing: requests that were not in it are deleted, except those learnt meanwhile.
    pub fn end_listing(&mut self, now: Instant) {
        let listed = std::mem::take(&mut self.listed);
        let epoch = self.epoch;
        for incident in self.incidents.values_mut() {
            let is_gone = |(record, learnt): &(Record, u64)| *learnt < epoch && !listed.contains(&record.uid);
            let gone: Vec<Record> = incident
                .records
                .extract_if(.., |entry| is_gone(entry))
                .map(|entry| entry.0)
                .collect();
            for record in &gone {
                incident.record_deletion(record, now);
            }
        }
        self.expire(now);
    }

    /// Discards old deletions; to be called periodically.
    pub fn expire(&mut self, now: Instant) {
        self.incidents.retain(|_, incident| {
            incident
                .deleted
                .take_if(|deleted| now.duration_since(deleted.at) >= DELETED_TTL);
            !incident.records.is_empty() || incident.deleted.is_some()
        });
    }

    /// The head for an incident's next signal.
    #[must_use]
    pub fn head(&self, fingerprint: Fingerprint, now: Instant) -> Head {
        let Some(incident) = self.incidents.get(&fingerprint) else {
            return Head::Next(None);
        };
        let records = || incident.records.iter().map(|(record, _)| record);
        // Two can be active only if one was created by hand; the older one is used then.
        let oldest_active = records()
            .filter(|record| record.active)
            .min_by_key(|record| (record.created, &record.uid));
        if let Some(record) = oldest_active {
            return Head::Active(Box::new(record.clone()));
        }
        let deleted = incident
            .deleted
            .as_ref()
            .filter(|deleted| now.duration_since(deleted.at) < DELETED_TTL);
        let over = records()
            .map(|record| (record.created, &record.name, &record.uid))
            .chain(deleted.map(|deleted| (deleted.created, &deleted.name, &deleted.uid)));
        let names: HashSet<&String> = over.clone().map(|(_, name, _)| name).collect();
        // Creation times are whole seconds: of two in the same second the one without a successor is the last.
        let last = over
            .filter(|(_, _, uid)| !names.contains(&request::name(fingerprint, Some(uid))))
            .max_by_key(|(created, _, uid)| (*created, *uid));
        Head::Next(last.map(|(_, _, uid)| uid.clone()))
    }

    /// Number of requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.incidents
            .values()
            .map(|incident| incident.records.len())
            .sum()
    }

    /// Whether no request is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Incident {
    /// Keeps the youngest of the deleted requests.
    fn record_deletion(&mut self, record: &Record, now: Instant) {
        if self
            .deleted
            .as_ref()
            .is_none_or(|deleted| deleted.created <= record.created)
        {
            self.deleted = Some(Deleted {
                name: record.name.clone(),
                uid: record.uid.clone(),
                created: record.created,
                at: now,
            });
        }
    }
}

/// Whether version `left` precedes `right`. The API server increments them; if they are not numbers, the latest
/// observation counts as newer.
fn is_older(left: &str, right: &str) -> bool {
    match (left.parse::<u64>(), right.parse::<u64>()) {
        (Ok(left), Ok(right)) => left < right,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint() -> Fingerprint {
        Fingerprint::parse(&"ab".repeat(32)).unwrap()
    }

    fn record(uid: &str, predecessor: Option<&str>, version: u64, active: bool, created: i64) -> Record {
        let time = Timestamp::from_second(created).unwrap();
        Record {
            fingerprint: fingerprint(),
            namespace: "shop".into(),
            name: request::name(fingerprint(), predecessor),
            uid: uid.into(),
            resource_version: version.to_string(),
            active,
            created: time,
            first_seen: time,
            last_seen: time,
            count: 1,
            signal_id: None,
            counted: false,
            announced: false,
        }
    }

    fn next(index: &Index, now: Instant) -> Option<String> {
        match index.head(fingerprint(), now) {
            Head::Next(uid) => uid,
            Head::Active(record) => panic!("{record:?} is active"),
        }
    }

    fn active(index: &Index) -> Record {
        match index.head(fingerprint(), Instant::now()) {
            Head::Active(record) => *record,
            Head::Next(uid) => panic!("none is active, the next follows {uid:?}"),
        }
    }

    #[test]
    fn stale_observation_does_not_replace_a_newer_one() {
        let mut index = Index::default();
        index.observe(record("a", None, 9, true, 1));
        index.observe(record("a", None, 10, false, 1));
        index.observe(record("a", None, 9, true, 1));
        assert_eq!(next(&index, Instant::now()).as_deref(), Some("a"));
    }

    #[test]
    fn last_of_a_chain_is_the_predecessor_even_within_one_second() {
        let now = Instant::now();
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let chain = [
                record("z", None, 1, false, 5),
                record("m", Some("z"), 2, false, 5),
                record("a", Some("m"), 3, false, 5),
            ];
            let mut index = Index::default();
            for position in order {
                index.observe(chain[position].clone());
            }
            assert_eq!(next(&index, now).as_deref(), Some("a"));
            index.observe(record("b", Some("a"), 4, true, 5));
            assert_eq!(active(&index).uid, "b");
        }
    }

    #[test]
    fn deleted_request_stays_the_predecessor_for_a_while() {
        let mut index = Index::default();
        let now = Instant::now();
        index.observe(record("a", None, 1, true, 1));
        index.forget(fingerprint(), "a", now);
        assert_eq!(next(&index, now).as_deref(), Some("a"));
        assert_eq!(next(&index, now + DELETED_TTL), None);
        index.expire(now + DELETED_TTL);
        assert!(index.incidents.is_empty());
    }

    #[test]
    fn listing_removes_deleted_requests_and_keeps_those_created_meanwhile() {
        let mut index = Index::default();
        index.observe(record("gone", None, 1, true, 1));
        index.begin_listing();
        index.observe(record("new", Some("gone"), 7, true, 2));
        index.end_listing(Instant::now());
        assert_eq!((active(&index).uid.as_str(), index.len()), ("new", 1));

        index.begin_listing();
        index.observe_listed(record("new", Some("gone"), 8, true, 2));
        index.end_listing(Instant::now());
        assert_eq!(active(&index).resource_version, "8");

        index.begin_listing();
        index.end_listing(Instant::now());
        assert!(index.is_empty());
        assert_eq!(next(&index, Instant::now()).as_deref(), Some("new"));
    }
}
