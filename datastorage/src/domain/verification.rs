//! Whether a chain is what was stored: every event altered, missing or inserted since is named.
//!
//! What each event's own hash proves: its content, its place, its time of storing and the hash before it. What the
//! links prove: that nothing was taken out or put in between. What the head proves: that nothing was cut off the end.
//! Whoever may write to the database can forge all three together; against that there is the key (HMAC).

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::chain::{GENESIS, Keys, link};
use super::event::{Hash, Sealed};
use super::stored::Place;

/// What verification needs of a stored event: its data need not stay in memory.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) event_id: Uuid,
    pub(crate) sequence: i64,
    pub(crate) previous_hash: Hash,
    pub(crate) event_hash: Hash,
    /// Why its own hash does not prove it; `None` if it does.
    pub(crate) flaw: Option<&'static str>,
    pub(crate) keyed: bool,
}

impl Link {
    /// Computes an event's hash again.
    pub(crate) fn of(sealed: &Sealed, place: &Place, keys: &Keys) -> Self {
        let Place {
            sequence,
            recorded_at,
            previous_hash,
            event_hash,
            ref chain_key,
        } = *place;
        let key = chain_key.as_deref().map(|id| keys.find(id));
        let flaw = match key {
            Some(None) => Some("the key that it was stored with is not configured here"),
            Some(Some(_)) | None => {
                let hash = link(
                    key.flatten(),
                    &previous_hash,
                    sequence,
                    recorded_at,
                    &sealed.content_hash,
                );
                (hash != event_hash).then_some("its content, place or time of storing is not what was stored")
            }
        };
        Self {
            event_id: sealed.event.event_id,
            sequence,
            previous_hash,
            event_hash,
            flaw,
            keyed: chain_key.is_some(),
        }
    }
}

/// A part of a chain that retention took away.
#[derive(Clone, Debug)]
pub(crate) struct Gap {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) previous_hash: Hash,
    pub(crate) last_hash: Hash,
}

/// The last event of a chain, as it is kept apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) sequence: i64,
    pub(crate) hash: Hash,
}

/// What was done to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tampering {
    /// It is not what was stored.
    Altered,
    /// It is gone, and retention did not take it.
    Missing,
    /// It was never stored by this service.
    Inserted,
}

/// An event that is not as it was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct TamperedEvent {
    /// What was done to it.
    pub(crate) kind: Tampering,
    /// Its place in the chain.
    pub(crate) sequence: i64,
    /// Its id; null for one that is missing.
    pub(crate) event_id: Option<Uuid>,
    /// What does not fit.
    pub(crate) detail: String,
}

/// The answer to whether a chain is what was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ChainVerification {
    /// The chain.
    pub(crate) correlation_id: String,
    /// Whether nothing is wrong with it.
    pub(crate) is_valid: bool,
    /// Events that are there.
    pub(crate) total_events: usize,
    /// Those that are as they were stored.
    pub(crate) verified_events: usize,
    /// Events that retention took away; the chain spans them.
    pub(crate) expired_events: i64,
    /// Events that an HMAC key protects.
    pub(crate) keyed_events: usize,
    /// Everything that is wrong.
    pub(crate) tampered_events: Vec<TamperedEvent>,
}

/// Verifies a chain from its events (in any order), the parts that retention took, and its head.
pub(crate) fn verify(
    correlation_id: &str,
    links: Vec<Link>,
    gaps: &[Gap],
    head: Option<Head>,
) -> ChainVerification {
    let total_events = links.len();
    let keyed_events = links.iter().filter(|link| link.keyed).count();
    let mut verifier = Verifier {
        tampered: Vec::new(),
        gaps,
        head,
    };
    let places = verifier.places(links);
    verifier.walk(&places);
    let Verifier { mut tampered, .. } = verifier;
    tampered.sort_by_key(|event| (event.sequence, event.event_id));
    let wrong = tampered.iter().filter(|event| event.event_id.is_some()).count();
    ChainVerification {
        correlation_id: correlation_id.to_owned(),
        is_valid: tampered.is_empty(),
        total_events,
        verified_events: total_events - wrong,
        expired_events: gaps
            .iter()
            .flat_map(|gap| gap.first..=gap.last)
            .filter(|sequence| !places.contains_key(sequence))
            .count()
            .try_into()
            .unwrap_or(i64::MAX),
        keyed_events,
        tampered_events: tampered,
    }
}

/// What stands before a place.
#[derive(Clone, Copy)]
struct Before<'a> {
    /// The hash that the next event must name; unknown after a missing event.
    hash: Option<Hash>,
    /// The event that the hash is of, unless it is gone.
    event: Option<&'a Link>,
}

impl<'a> Before<'a> {
    /// A missing event.
    const UNKNOWN: Self = Self {
        hash: None,
        event: None,
    };

    /// An event that is there.
    fn event(link: &'a Link) -> Self {
        Self {
            hash: Some(link.event_hash),
            event: Some(link),
        }
    }

    /// The hash of an event that is not there, nor need be.
    fn hash(hash: Hash) -> Self {
        Self {
            hash: Some(hash),
            event: None,
        }
    }
}

/// Where to go on from a place in a gap, and what stands before that. A gap may still hold events that retention is
/// about to take.
fn beyond<'a>(gap: &Gap, sequence: i64, places: &BTreeMap<i64, Link>) -> (i64, Before<'a>) {
    match places.range(sequence..=gap.last).next() {
        Some((next, _)) => (*next, Before::UNKNOWN),
        None => (gap.last + 1, Before::hash(gap.last_hash)),
    }
}

struct Verifier<'a> {
    tampered: Vec<TamperedEvent>,
    gaps: &'a [Gap],
    head: Option<Head>,
}

impl Verifier<'_> {
    /// Names what is wrong; an event is named once, for the first thing that does not fit.
    fn name(&mut self, kind: Tampering, sequence: i64, event_id: Option<Uuid>, detail: &str) {
        let known = self
            .tampered
            .iter()
            .any(|event| event.event_id.is_some() && event.event_id == event_id);
        if !known {
            self.tampered.push(TamperedEvent {
                kind,
                sequence,
                event_id,
                detail: detail.to_owned(),
            });
        }
    }

    /// One event for each place; what stands beyond the head, or where another event proves itself, was inserted.
    fn places(&mut self, links: Vec<Link>) -> BTreeMap<i64, Link> {
        let end = self.head.map_or(i64::MAX, |head| head.sequence);
        let mut by_place: BTreeMap<i64, Vec<Link>> = BTreeMap::new();
        for link in links {
            if link.sequence < 1 || link.sequence > end {
                let detail = "its place is beyond the end of the chain";
                self.name(Tampering::Inserted, link.sequence, Some(link.event_id), detail);
            } else {
                by_place.entry(link.sequence).or_default().push(link);
            }
        }
        let hashes: Vec<(i64, Hash)> = by_place
            .values()
            .flatten()
            .map(|link| (link.sequence - 1, link.previous_hash))
            .chain(self.head.map(|head| (head.sequence, head.hash)))
            .collect();
        let mut places = BTreeMap::new();
        for (sequence, mut rivals) in by_place {
            // The one that the next event links to, and that proves itself, was there first.
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
                self.name(
                    Tampering::Inserted,
                    sequence,
                    Some(link.event_id),
                    "another event has its place",
                );
            }
        }
        places
    }

    /// Follows the links from the first place to the head.
    fn walk(&mut self, places: &BTreeMap<i64, Link>) {
        let end = self
            .head
            .map(|head| head.sequence)
            .or(places.keys().next_back().copied())
            .unwrap_or(0);
        if self.head.is_none() && !places.is_empty() {
            self.name(Tampering::Missing, end, None, "the chain's head is gone");
        }
        let mut before = Before::hash(GENESIS);
        let mut keyed = false;
        let mut sequence = 1;
        while sequence <= end {
            if let Some(link) = places.get(&sequence) {
                self.judge(link, before, keyed);
                keyed |= link.keyed;
                before = Before::event(link);
                sequence += 1;
            } else if let Some(gap) = self
                .gaps
                .iter()
                .find(|gap| (gap.first..=gap.last).contains(&sequence))
            {
                if gap.first == sequence {
                    self.joined(before, gap.previous_hash, sequence);
                }
                (sequence, before) = beyond(gap, sequence, places);
            } else {
                self.name(
                    Tampering::Missing,
                    sequence,
                    None,
                    "the event is gone and no retention took it",
                );
                before = Before::UNKNOWN;
                sequence += 1;
            }
        }
        if let (Some(head), Some(last)) = (self.head, before.event)
            && before.hash != Some(head.hash)
        {
            let detail = "its hash is not the one that the chain's head has";
            self.name(Tampering::Altered, last.sequence, Some(last.event_id), detail);
        }
    }

    /// Judges an event by itself, then by what stands before it. `keyed` tells that the chain has a keyed event before.
    fn judge(&mut self, link: &Link, before: Before<'_>, keyed: bool) {
        if let Some(flaw) = link.flaw {
            self.name(Tampering::Altered, link.sequence, Some(link.event_id), flaw);
        } else if keyed && !link.keyed {
            let detail = "it has no key, and events before it have one";
            self.name(Tampering::Altered, link.sequence, Some(link.event_id), detail);
        } else {
            self.joined(before, link.previous_hash, link.sequence);
        }
    }

    /// Compares what an event (or a gap) says of the hash before it with that hash. It proves its own word, so that
    /// the event before was changed, with its hash computed anew.
    fn joined(&mut self, before: Before<'_>, said: Hash, sequence: i64) {
        let Some(hash) = before.hash else { return };
        if hash == said {
            return;
        }
        match before.event {
            Some(event) => {
                let detail = "its hash was computed anew: the event after it knows another";
                self.name(Tampering::Altered, event.sequence, Some(event.event_id), detail);
            }
            None => {
                self.name(
                    Tampering::Missing,
                    sequence,
                    None,
                    "what stood before this place is not what it links to",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
