//! What is known of the requests in the cluster: just what deduplication needs, so that ten thousand fit in a few
//! megabytes.
//!
//! What stands here may be late. It is never trusted alone: a request is created under a name that can exist once, and
//! counted with the resourceVersion that was seen, so that the API server refuses what is out of date.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::fingerprint::Fingerprint;
use super::request;

/// For how long a deleted request is remembered as a predecessor. Replicas see a deletion at slightly different
/// times; while both remember it they derive the same next name, whichever of them has seen it.
const REMEMBERED: Duration = Duration::from_secs(60);

/// One request of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which problem it is of.
    pub fingerprint: Fingerprint,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The version that this is.
    pub resource_version: String,
    /// Whether it is being worked on.
    pub active: bool,
    /// When the API server made it, to the second.
    pub created: Timestamp,
    /// When its first signal came.
    pub first_seen: Timestamp,
    /// When its latest signal came.
    pub last_seen: Timestamp,
    /// Signals so far.
    pub count: i64,
    /// The signal that it was made of, where it says so.
    pub signal_id: Option<String>,
}

/// What a problem's next signal meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// A request that is being worked on.
    Active(Box<Record>),
    /// None; the next one follows the one with this uid, or is the first.
    Next(Option<String>),
}

/// All requests by their problem.
#[derive(Debug, Default)]
pub struct Index {
    problems: HashMap<Fingerprint, Problem>,
    /// Counts up with each listing; what was learnt since the latest began is newer than the listing.
    epoch: u64,
    listed: HashSet<String>,
}

#[derive(Debug, Default)]
struct Problem {
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
    /// Takes what was seen of a request, unless something newer is known.
    pub fn observe(&mut self, record: Record) {
        let epoch = self.epoch;
        let records = &mut self.problems.entry(record.fingerprint).or_default().records;
        match records.iter_mut().find(|(known, _)| known.uid == record.uid) {
            Some(known) if is_older(&record.resource_version, &known.0.resource_version) => {}
            Some(known) => *known = (record, epoch),
            None => records.push((record, epoch)),
        }
    }

    /// A request is gone.
    pub fn forget(&mut self, fingerprint: Fingerprint, uid: &str, now: Instant) {
        let Some(problem) = self.problems.get_mut(&fingerprint) else {
            return;
        };
        if let Some(position) = problem.records.iter().position(|(record, _)| record.uid == uid) {
            let (record, _) = problem.records.swap_remove(position);
            problem.remember(&record, now);
        }
    }

    /// A listing of all requests begins.
    pub fn begin_listing(&mut self) {
        self.epoch += 1;
        self.listed.clear();
    }

    /// A request of the listing.
    pub fn observe_listed(&mut self, record: Record) {
        self.listed.insert(record.uid.clone());
        self.observe(record);
    }

    /// The listing is complete: what was not in it is gone, but for what was learnt while it was made.
    pub fn end_listing(&mut self, now: Instant) {
        let listed = std::mem::take(&mut self.listed);
        let epoch = self.epoch;
        for problem in self.problems.values_mut() {
            let is_gone = |(record, learnt): &(Record, u64)| *learnt < epoch && !listed.contains(&record.uid);
            let gone: Vec<Record> = problem
                .records
                .extract_if(.., |entry| is_gone(entry))
                .map(|entry| entry.0)
                .collect();
            for record in &gone {
                problem.remember(record, now);
            }
        }
        self.expire(now);
    }

    /// Forgets deletions that are long past; to be called now and then.
    pub fn expire(&mut self, now: Instant) {
        self.problems.retain(|_, problem| {
            problem
                .deleted
                .take_if(|deleted| now.duration_since(deleted.at) >= REMEMBERED);
            !problem.records.is_empty() || problem.deleted.is_some()
        });
    }

    /// What the problem's next signal meets.
    #[must_use]
    pub fn head(&self, fingerprint: Fingerprint, now: Instant) -> Head {
        let Some(problem) = self.problems.get(&fingerprint) else {
            return Head::Next(None);
        };
        let records = || problem.records.iter().map(|(record, _)| record);
        // Two can be active only if somebody else made one by hand; the older one is then the one.
        let oldest_active = records()
            .filter(|record| record.active)
            .min_by_key(|record| (record.created, &record.uid));
        if let Some(record) = oldest_active {
            return Head::Active(Box::new(record.clone()));
        }
        let deleted = problem
            .deleted
            .as_ref()
            .filter(|deleted| now.duration_since(deleted.at) < REMEMBERED);
        let over = records()
            .map(|record| (record.created, &record.name, &record.uid))
            .chain(deleted.map(|deleted| (deleted.created, &deleted.name, &deleted.uid)));
        let names: HashSet<&String> = over.clone().map(|(_, name, _)| name).collect();
        // Creation times are whole seconds: of two in the same second the one that has no successor is the last.
        let last = over
            .filter(|(_, _, uid)| !names.contains(&request::name(fingerprint, Some(uid))))
            .max_by_key(|(created, _, uid)| (*created, *uid));
        Head::Next(last.map(|(_, _, uid)| uid.clone()))
    }

    /// How many requests are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.problems.values().map(|problem| problem.records.len()).sum()
    }

    /// Whether no request is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Problem {
    /// Keeps the youngest of the deleted.
    fn remember(&mut self, record: &Record, now: Instant) {
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

/// Whether version `left` was made before `right`. The API server counts them up; where they are no numbers, what came
/// last is taken as the newer.
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
    fn a_late_view_does_not_replace_a_newer_one() {
        let mut index = Index::default();
        index.observe(record("a", None, 9, true, 1));
        index.observe(record("a", None, 10, false, 1));
        index.observe(record("a", None, 9, true, 1));
        assert_eq!(next(&index, Instant::now()).as_deref(), Some("a"));
    }

    #[test]
    fn the_last_of_a_chain_is_the_predecessor_also_within_one_second() {
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
    fn a_deleted_request_is_still_the_predecessor_for_a_while() {
        let mut index = Index::default();
        let now = Instant::now();
        index.observe(record("a", None, 1, true, 1));
        index.forget(fingerprint(), "a", now);
        assert_eq!(next(&index, now).as_deref(), Some("a"));
        assert_eq!(next(&index, now + REMEMBERED), None);
        index.expire(now + REMEMBERED);
        assert!(index.problems.is_empty());
    }

    #[test]
    fn a_listing_removes_what_is_gone_and_keeps_what_was_made_meanwhile() {
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
