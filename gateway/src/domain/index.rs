//! The index of the requests in the cluster: only what deduplication needs, so that ten thousand fit in a few
//! megabytes.
//!
//! The index may be stale. It is never trusted alone: a request is created under a name that can exist once, and
//! counted with the resourceVersion that was read, so that the API server rejects stale writes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use super::fingerprint::Fingerprint;

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
    /// Number of those that this process has counted.
    pub own: i64,
    /// Other processes whose entries in the status can be removed.
    pub stale_writers: Vec<String>,
    /// The signal that created it, if recorded.
    pub signal_id: Option<String>,
    /// Whether a signal was counted on it.
    pub counted: bool,
    /// Whether this process has written the audit events of its creation.
    pub announced: bool,
    /// How it ended, if that is recorded.
    pub ended: Option<Box<Ended>>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The outcome, such as `NoActionRequired`.
    pub outcome: String,
    /// When.
    pub at: Timestamp,
}

/// All requests by fingerprint.
#[derive(Debug, Default)]
pub struct Index {
    /// With the epoch in which each was learnt.
    incidents: HashMap<Fingerprint, Vec<(Record, u64)>>,
    /// Incremented with each listing; entries learnt after the start of the latest one are newer than it.
    epoch: u64,
    listed: HashSet<String>,
    /// How long after an outcome further signals create no request.
    cool_down: BTreeMap<String, Duration>,
}

impl Index {
    /// An empty index, with the time by outcome in which further signals create no request.
    #[must_use]
    pub fn new(cool_down: BTreeMap<String, Duration>) -> Self {
        Self {
            cool_down,
            ..Self::default()
        }
    }

    /// Stores an observed request, unless a newer version is known.
    pub fn observe(&mut self, mut record: Record) {
        let epoch = self.epoch;
        let records = &mut self.incidents.entry(record.fingerprint).or_default();
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
    pub fn forget(&mut self, fingerprint: Fingerprint, uid: &str) {
        if let Some(records) = self.incidents.get_mut(&fingerprint) {
            records.retain(|(record, _)| record.uid != uid);
            if records.is_empty() {
                self.incidents.remove(&fingerprint);
            }
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
    pub fn end_listing(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        let epoch = self.epoch;
        self.incidents.retain(|_, records| {
            records.retain(|(record, learnt)| *learnt >= epoch || listed.contains(&record.uid));
            !records.is_empty()
        });
    }

    /// The incident's active request.
    #[must_use]
    pub fn active(&self, fingerprint: Fingerprint) -> Option<Record> {
        let records = self.incidents.get(&fingerprint)?.iter().map(|(record, _)| record);
        // Two can be active only if one was created by hand; the older one is used then.
        let oldest = records
            .filter(|record| record.active)
            .min_by_key(|record| (record.created, &record.uid));
        oldest.cloned()
    }

    /// The request whose outcome is in its cool-down, of an incident without an active one: the latest.
    #[must_use]
    pub fn cooling(&self, fingerprint: Fingerprint, now: Timestamp) -> Option<Record> {
        let records = self.incidents.get(&fingerprint)?.iter().map(|(record, _)| record);
        let latest = records.max_by_key(|record| (record.created, record.first_seen))?;
        let ended = latest.ended.as_ref().filter(|_| !latest.active)?;
        let cool_down = self.cool_down.get(&ended.outcome)?;
        let passed = now.duration_since(ended.at).unsigned_abs();
        // A time in the future is another clock's now.
        (now < ended.at || passed < *cool_down).then(|| latest.clone())
    }

    /// Number of requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.incidents.values().map(Vec::len).sum()
    }

    /// Whether no request is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

    fn record(uid: &str, version: u64, active: bool, created: i64) -> Record {
        let time = Timestamp::from_second(created).unwrap();
        Record {
            fingerprint: fingerprint(),
            namespace: "shop".into(),
            name: uid.into(),
            uid: uid.into(),
            resource_version: version.to_string(),
            active,
            created: time,
            first_seen: time,
            last_seen: time,
            count: 1,
            own: 0,
            stale_writers: Vec::new(),
            signal_id: None,
            counted: false,
            announced: false,
            ended: None,
        }
    }

    fn active(index: &Index) -> Option<String> {
        index.active(fingerprint()).map(|record| record.uid)
    }

    #[test]
    fn stale_observation_does_not_replace_a_newer_one() {
        let mut index = Index::default();
        index.observe(record("a", 9, true, 1));
        index.observe(record("a", 10, false, 1));
        index.observe(record("a", 9, true, 1));
        assert_eq!(active(&index), None);
    }

    #[test]
    fn announcement_is_remembered_through_observations_of_others() {
        let mut index = Index::default();
        let announced = Record {
            announced: true,
            ..record("a", 1, true, 1)
        };
        index.observe(record("a", 2, true, 1));
        index.observe(announced);
        index.observe(record("a", 3, true, 1));
        let record = index.active(fingerprint()).unwrap();
        assert_eq!((record.resource_version.as_str(), record.announced), ("3", true));
    }

    #[test]
    fn latest_request_cools_down_by_its_outcome() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let ended = |uid, created, outcome: &str| Record {
            ended: Some(Box::new(Ended {
                outcome: outcome.to_owned(),
                at: at(created + 10),
            })),
            ..record(uid, 1, false, created)
        };
        let cool_down = BTreeMap::from([("NoActionRequired".to_owned(), Duration::from_secs(60))]);
        let mut index = Index::new(cool_down);
        let cooling =
            |index: &Index, second| index.cooling(fingerprint(), at(second)).map(|record| record.uid);
        index.observe(ended("a", 100, "NoActionRequired"));
        for (second, expected) in [(105, Some("a")), (110, Some("a")), (169, Some("a")), (170, None)] {
            assert_eq!(cooling(&index, second).as_deref(), expected, "{second}");
        }
        index.observe(ended("b", 120, "Remediated"));
        assert_eq!(cooling(&index, 131), None, "the latest one counts");
        index.observe(ended("c", 140, "NoActionRequired"));
        assert_eq!(cooling(&index, 160).as_deref(), Some("c"));
        index.observe(record("d", 1, true, 150));
        assert_eq!(cooling(&index, 160), None);
    }

    #[test]
    fn oldest_of_two_active_requests_is_used() {
        let mut index = Index::default();
        index.observe(record("b", 1, true, 5));
        index.observe(record("a", 2, true, 6));
        index.observe(record("c", 3, false, 1));
        assert_eq!(active(&index).as_deref(), Some("b"));
        index.forget(fingerprint(), "b");
        assert_eq!(active(&index).as_deref(), Some("a"));
    }

    #[test]
    fn listing_removes_deleted_requests_and_keeps_those_created_meanwhile() {
        let mut index = Index::default();
        index.observe(record("gone", 1, true, 1));
        index.begin_listing();
        index.observe(record("new", 7, true, 2));
        index.end_listing();
        assert_eq!((active(&index).as_deref(), index.len()), (Some("new"), 1));

        index.begin_listing();
        index.observe_listed(record("new", 8, true, 2));
        index.end_listing();
        assert_eq!(index.active(fingerprint()).unwrap().resource_version, "8");

        index.begin_listing();
        index.end_listing();
        assert!(index.is_empty());
    }
}
