//! Verification of a chain: every event altered, missing or inserted since it was stored is reported.
//!
//! An event's own hash proves its content, position, time of storing and the previous hash. The
//! links prove that nothing was removed or inserted in between, the chain head that nothing was cut off at the end.
//! A writer of the database can forge all three together; the HMAC key and the transparency log prevent that.

mod link;
mod report;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use uuid::Uuid;

pub(crate) use self::link::Link;
pub(crate) use self::report::{ChainVerification, TamperedEvent, Tampering};
use super::chain::{GENESIS, Keys, may_be_of_next_rollout};
use super::event::Hash;
use super::log::ChainLog;
use super::time::Micros;

/// A run of events that retention removed from a chain.
#[derive(Clone, Debug)]
pub(crate) struct Gap {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) previous_hash: Hash,
    pub(crate) last_hash: Hash,
    /// Its description in the transparency log.
    pub(crate) entry: String,
}

/// The chain head, stored separately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) sequence: i64,
    pub(crate) hash: Hash,
}

/// A stored chain.
#[derive(Debug)]
pub(crate) struct Chain<'a> {
    pub(crate) correlation_id: &'a str,
    /// Its events, in any order.
    pub(crate) links: Vec<Link>,
    /// The runs removed by retention.
    pub(crate) gaps: Vec<Gap>,
    pub(crate) head: Option<Head>,
    /// Descriptions of its legal holds and their releases.
    pub(crate) holds: BTreeSet<String>,
    pub(crate) log: ChainLog,
    /// The keys with which its events were read.
    pub(crate) keys: &'a Keys,
    pub(crate) now: Micros,
}

/// Verifies a chain by itself and against the transparency log. Time and memory grow with the number of its rows,
/// whatever numbers they contain.
pub(crate) fn verify(chain: Chain<'_>) -> ChainVerification {
    let Chain {
        correlation_id,
        mut links,
        gaps,
        head,
        holds,
        log,
        keys,
        now,
    } = chain;
    let mut unverifiable_events = 0;
    for link in &mut links {
        if !link.is_verifiable && may_be_of_next_rollout(link.recorded_at, now) {
            link.flaw = None;
            unverifiable_events += 1;
        }
    }
    let total_events = links.len();
    let keyed_events = links.iter().filter(|link| link.keyed).count();
    let mut verifier = Verifier {
        tampered: Vec::new(),
        reported: HashSet::new(),
        gaps: BTreeMap::new(),
        head,
        log: &log,
        keys,
    };
    verifier.take_gaps(gaps);
    let places = verifier.places(links);
    verifier.walk(&places);
    verifier.compare_with_log(&places);
    verifier.compare_holds(&holds);
    let expired_events = verifier.expired(&places);
    let Verifier {
        mut tampered,
        reported,
        ..
    } = verifier;
    tampered.sort_by_key(|event| (event.sequence, event.event_id));
    ChainVerification {
        correlation_id: correlation_id.to_owned(),
        is_valid: tampered.is_empty(),
        total_events,
        verified_events: total_events.saturating_sub(reported.len() + unverifiable_events),
        expired_events,
        keyed_events,
        unverifiable_events,
        tampered_events: tampered,
    }
}

/// The state before a position.
#[derive(Clone, Copy)]
struct Before<'a> {
    /// The previous hash that the next event must have; unknown after a missing event.
    hash: Option<Hash>,
    /// The event of that hash, unless it is removed.
    event: Option<&'a Link>,
}

impl<'a> Before<'a> {
    /// A missing event.
    const UNKNOWN: Self = Self {
        hash: None,
        event: None,
    };

    /// An existing event.
    fn event(link: &'a Link) -> Self {
        Self {
            hash: Some(link.event_hash),
            event: Some(link),
        }
    }

    /// The hash of an event that was removed by retention.
    fn hash(hash: Hash) -> Self {
        Self {
            hash: Some(hash),
            event: None,
        }
    }
}

/// The next position after a gap, and the state before it. A gap may still contain events that retention is about to
/// remove.
fn beyond<'a>(gap: &Gap, sequence: i64, places: &BTreeMap<i64, Link>) -> (i64, Before<'a>) {
    match places.range(sequence..=gap.last).next() {
        Some((next, _)) => (*next, Before::UNKNOWN),
        None => (gap.last.saturating_add(1), Before::hash(gap.last_hash)),
    }
}

/// A hold or release in words, from the first two lines of its description.
fn hold_of(description: &str) -> String {
    let mut lines = description.lines();
    let what = match lines.next() {
        Some("release") => "the release of legal hold",
        _ => "legal hold",
    };
    format!("{what} {}", lines.next().unwrap_or_default())
}

/// Maximum number of reported events: a response about a large chain that was rewritten stays small.
const MAX_REPORTED: usize = 1000;

struct Verifier<'a> {
    tampered: Vec<TamperedEvent>,
    /// Ids of reported events.
    reported: HashSet<Uuid>,
    /// Gaps of the log by first position; they do not overlap.
    gaps: BTreeMap<i64, Gap>,
    head: Option<Head>,
    log: &'a ChainLog,
    keys: &'a Keys,
}

impl Verifier<'_> {
    /// Reports tampering; an event is reported once, for the first difference.
    fn report(&mut self, kind: Tampering, sequence: i64, event_id: Option<Uuid>, detail: &str) {
        let is_first = event_id.is_none_or(|id| self.reported.insert(id));
        if is_first && self.tampered.len() < MAX_REPORTED {
            self.tampered.push(TamperedEvent {
                kind,
                sequence,
                event_id,
                detail: detail.to_owned(),
            });
        }
    }

    /// Accepts the gaps that are in the log: a writer of rows can declare anything removed.
    fn take_gaps(&mut self, gaps: Vec<Gap>) {
        let mut end = 0;
        let mut gaps = gaps;
        gaps.sort_by_key(|gap| gap.first);
        for gap in gaps {
            if !self.log.has_gap(&gap.entry) {
                let detail = "events from here on are said to be removed by retention, which is not in the transparency log";
                self.report(Tampering::Missing, gap.first, None, detail);
            } else if gap.first > end {
                end = gap.last;
                self.gaps.insert(gap.first, gap);
            }
        }
    }

    /// The gap at a position.
    fn gap_at(&self, sequence: i64) -> Option<&Gap> {
        let (_, gap) = self.gaps.range(..=sequence).next_back()?;
        (gap.last >= sequence).then_some(gap)
    }

    /// The number of removed events.
    fn expired(&self, places: &BTreeMap<i64, Link>) -> i64 {
        self.gaps
            .values()
            .map(|gap| {
                let kept = i64::try_from(places.range(gap.first..=gap.last).count()).unwrap_or(i64::MAX);
                (gap.last - gap.first).saturating_add(1).saturating_sub(kept)
            })
            .fold(0, i64::saturating_add)
    }

    /// Compares every event with its leaf, and every leaf with its event.
    fn compare_with_log(&mut self, places: &BTreeMap<i64, Link>) {
        for (sequence, link) in places {
            if link.is_erased && !self.log.has_erasure(*sequence) {
                let detail = "its data was erased, which is not in the transparency log";
                self.report(Tampering::Altered, *sequence, Some(link.event_id), detail);
            }
            let (kind, detail) = match self.log.has_event(*sequence, &link.event_hash) {
                Some(true) => continue,
                Some(false) => (
                    Tampering::Altered,
                    "its hash differs from that in the transparency log",
                ),
                None => (Tampering::Inserted, "it is not in the transparency log"),
            };
            self.report(kind, *sequence, Some(link.event_id), detail);
        }
        let known: HashSet<i64> = self.tampered.iter().map(|event| event.sequence).collect();
        let log = self.log;
        for sequence in log.remaining() {
            if !places.contains_key(&sequence) && !known.contains(&sequence) {
                let detail = "the event is in the transparency log, and missing";
                self.report(Tampering::Missing, sequence, None, detail);
            }
        }
    }

    /// Compares legal holds with the log. They have no position in the chain.
    fn compare_holds(&mut self, holds: &BTreeSet<String>) {
        let log = self.log;
        for missing in log.holds().difference(holds) {
            let detail = format!("{} is in the transparency log, and missing", hold_of(missing));
            self.report(Tampering::Missing, 0, None, &detail);
        }
        for inserted in holds.difference(log.holds()) {
            let detail = format!("{} is not in the transparency log", hold_of(inserted));
            self.report(Tampering::Inserted, 0, None, &detail);
        }
    }

    /// Selects one event per position; events beyond the head, or at the position of a proven one, were inserted.
    fn places(&mut self, links: Vec<Link>) -> BTreeMap<i64, Link> {
        let end = self.head.map_or(i64::MAX, |head| head.sequence);
        let mut by_place: BTreeMap<i64, Vec<Link>> = BTreeMap::new();
        for link in links {
            if link.sequence < 1 || link.sequence > end {
                let detail = "its position is beyond the end of the chain";
                self.report(Tampering::Inserted, link.sequence, Some(link.event_id), detail);
            } else {
                by_place.entry(link.sequence).or_default().push(link);
            }
        }
        let hashes: HashSet<(i64, Hash)> = by_place
            .values()
            .flatten()
            .map(|link| (link.sequence - 1, link.previous_hash))
            .chain(self.head.map(|head| (head.sequence, head.hash)))
            .collect();
        let mut places = BTreeMap::new();
        for (sequence, mut rivals) in by_place {
            // The proven one to which the next event links was there first.
            rivals.sort_by_key(|link| {
                (
                    !hashes.contains(&(sequence, link.event_hash)),
                    link.flaw.is_some(),
                )
            });
            let mut rivals = rivals.into_iter();
            if let Some(chosen) = rivals.next() {
                places.insert(sequence, chosen);
            }
            for link in rivals {
                self.report(
                    Tampering::Inserted,
                    sequence,
                    Some(link.event_id),
                    "another event has its position",
                );
            }
        }
        places
    }

    /// Follows the links from the first position to the head.
    fn walk(&mut self, places: &BTreeMap<i64, Link>) {
        let end = self
            .head
            .map(|head| head.sequence)
            .or(places.keys().next_back().copied())
            .unwrap_or(0)
            // So that there is a position after the end.
            .min(i64::MAX - 1);
        if self.head.is_none() && !places.is_empty() {
            self.report(Tampering::Missing, end, None, "the chain head is missing");
        }
        let mut before = Before::hash(GENESIS);
        let mut first_keyed = None;
        let mut sequence = 1;
        while sequence <= end {
            if let Some(link) = places.get(&sequence) {
                self.judge(link, before, first_keyed);
                if link.keyed && first_keyed.is_none() {
                    first_keyed = Some(link.recorded_at);
                }
                before = Before::event(link);
                sequence += 1;
            } else if let Some(gap) = self.gap_at(sequence) {
                let (first, previous_hash) = (gap.first, gap.previous_hash);
                let after = beyond(gap, sequence, places);
                if first == sequence {
                    self.joined(before, previous_hash, sequence);
                }
                (sequence, before) = after;
            } else {
                let next = places.range(sequence..).next().map(|(next, _)| *next);
                let gap = self.gaps.range(sequence..).next().map(|(first, _)| *first);
                let next = next
                    .into_iter()
                    .chain(gap)
                    .min()
                    .unwrap_or(i64::MAX)
                    .min(end.saturating_add(1));
                self.missing(sequence, next);
                before = Before::UNKNOWN;
                sequence = next;
            }
        }
        if let (Some(head), Some(last)) = (self.head, before.event)
            && before.hash != Some(head.hash)
        {
            let detail = "its hash differs from the chain head's";
            self.report(Tampering::Altered, last.sequence, Some(last.event_id), detail);
        }
    }

    /// Reports missing events up to `next`: each of a few, many as a run.
    fn missing(&mut self, first: i64, next: i64) {
        const MAX_SINGLE: i64 = 100;
        if next - first <= MAX_SINGLE {
            for sequence in first..next {
                let detail = "the event is missing and was not removed by retention";
                self.report(Tampering::Missing, sequence, None, detail);
            }
        } else {
            let detail = format!(
                "the events from here to {} are missing and were not removed by retention",
                next - 1
            );
            self.report(Tampering::Missing, first, None, &detail);
        }
    }

    /// Checks an event by itself, then its link. `first_keyed`: when the first event of the chain with a key was stored.
    fn judge(&mut self, link: &Link, before: Before<'_>, first_keyed: Option<Micros>) {
        if let Some(flaw) = link.flaw {
            self.report(Tampering::Altered, link.sequence, Some(link.event_id), flaw);
        } else if !link.keyed && self.keys.required_at(link.recorded_at, first_keyed) {
            let detail = "it has no key, but a key was in use at its time of storing";
            self.report(Tampering::Altered, link.sequence, Some(link.event_id), detail);
        } else {
            self.joined(before, link.previous_hash, link.sequence);
        }
    }

    /// Compares the previous hash of an event (or gap) with the actual one. The event proves its own fields, so a
    /// difference means that its predecessor was changed and its hash recomputed.
    fn joined(&mut self, before: Before<'_>, said: Hash, sequence: i64) {
        let Some(hash) = before.hash else { return };
        if hash == said {
            return;
        }
        match before.event {
            Some(event) => {
                let detail = "its hash was recomputed: the next event has another one";
                self.report(Tampering::Altered, event.sequence, Some(event.event_id), detail);
            }
            None => {
                self.report(
                    Tampering::Missing,
                    sequence,
                    None,
                    "its previous hash does not match its predecessor",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
