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
    /// Computes an event's hash again. `keyed_before` tells that the chain has a keyed event before this one.
    pub(crate) fn of(sealed: &Sealed, place: &Place<'_>, keys: &Keys) -> Self {
        let Place {
            sequence,
            recorded_at,
            previous_hash,
            event_hash,
            chain_key,
        } = *place;
        let key = chain_key.map(|id| keys.find(id));
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

/// The columns of an event's place in its chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) sequence: i64,
    pub(crate) recorded_at: super::event::Micros,
    pub(crate) previous_hash: Hash,
    pub(crate) event_hash: Hash,
    pub(crate) chain_key: Option<&'a str>,
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

struct Verifier<'a> {
    tampered: Vec<TamperedEvent>,
    gaps: &'a [Gap],
    head: Option<Head>,
}

impl Verifier<'_> {
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
        // The hash that the next event must name, and the event that it is of. Unknown after a missing one.
        let mut before: (Option<Hash>, Option<&Link>) = (Some(GENESIS), None);
        let mut keyed = false;
        let mut sequence = 1;
        while sequence <= end {
            if let Some(link) = places.get(&sequence) {
                self.judge(link, before, keyed);
                keyed |= link.keyed;
                before = (Some(link.event_hash), Some(link));
                sequence += 1;
            } else if let Some(gap) = self
                .gaps
                .iter()
                .find(|gap| (gap.first..=gap.last).contains(&sequence))
            {
                if gap.first == sequence {
                    self.joined(before, gap.previous_hash, sequence);
                }
                before = (Some(gap.last_hash), None);
                // A gap may still hold events that retention is about to take.
                let next = places
                    .range(sequence..=gap.last)
                    .next()
                    .map_or(gap.last + 1, |(next, _)| *next);
                before.0 = before.0.filter(|_| next > gap.last);
                sequence = next;
            } else {
                self.name(
                    Tampering::Missing,
                    sequence,
                    None,
                    "the event is gone and no retention took it",
                );
                before = (None, None);
                sequence += 1;
            }
        }
        if let (Some(head), (Some(hash), Some(last))) = (self.head, before)
            && hash != head.hash
        {
            let detail = "its hash is not the one that the chain's head has";
            self.name(Tampering::Altered, last.sequence, Some(last.event_id), detail);
        }
    }

    fn judge(&mut self, link: &Link, before: (Option<Hash>, Option<&Link>), keyed: bool) {
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
    fn joined(&mut self, before: (Option<Hash>, Option<&Link>), said: Hash, sequence: i64) {
        let (Some(hash), event) = before else { return };
        if hash == said {
            return;
        }
        match event {
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
mod tests {
    use super::*;
    use crate::domain::chain::Key;
    use crate::domain::event::Event;
    use crate::domain::event::Micros;
    use crate::domain::event::tests::{NOW, valid};

    struct Row {
        sealed: Sealed,
        sequence: i64,
        previous: Hash,
        hash: Hash,
        key: Option<String>,
    }

    fn sealed(number: i64) -> Sealed {
        let mut value = valid();
        value["event_id"] = Uuid::from_u128(u128::try_from(number).unwrap())
            .to_string()
            .into();
        value["event_data"] = serde_json::json!({ "number": number });
        Sealed::new(Event::read(value, NOW, None).unwrap())
    }

    fn chain(length: i64, keys: &Keys) -> Vec<Row> {
        let mut previous = GENESIS;
        (1..=length)
            .map(|sequence| {
                let sealed = sealed(sequence);
                let hash = link(
                    keys.current.as_ref(),
                    &previous,
                    sequence,
                    Micros(sequence),
                    &sealed.content_hash,
                );
                let key = keys.current.as_ref().map(|key| key.id().to_owned());
                let row = Row {
                    sealed,
                    sequence,
                    previous,
                    hash,
                    key,
                };
                previous = hash;
                row
            })
            .collect()
    }

    fn verdict(rows: &[Row], keys: &Keys, gaps: &[Gap], head: Option<Head>) -> ChainVerification {
        let links = rows
            .iter()
            .map(|row| {
                let place = Place {
                    sequence: row.sequence,
                    recorded_at: Micros(row.sequence),
                    previous_hash: row.previous,
                    event_hash: row.hash,
                    chain_key: row.key.as_deref(),
                };
                Link::of(&row.sealed, &place, keys)
            })
            .collect();
        verify("c", links, gaps, head)
    }

    fn head_of(rows: &[Row]) -> Option<Head> {
        rows.last().map(|row| Head {
            sequence: row.sequence,
            hash: row.hash,
        })
    }

    fn named(verification: &ChainVerification) -> Vec<(Tampering, i64, Option<Uuid>)> {
        assert_eq!(verification.is_valid, verification.tampered_events.is_empty());
        verification
            .tampered_events
            .iter()
            .map(|event| (event.kind, event.sequence, event.event_id))
            .collect()
    }

    fn id(number: u128) -> Option<Uuid> {
        Some(Uuid::from_u128(number))
    }

    #[test]
    fn an_untouched_chain_is_valid_with_and_without_a_key() {
        for keys in [
            Keys::default(),
            Keys {
                current: Some(Key::new(vec![7; 32])),
                previous: vec![],
            },
        ] {
            let rows = chain(5, &keys);
            let verification = verdict(&rows, &keys, &[], head_of(&rows));
            assert_eq!(named(&verification), []);
            assert_eq!((verification.total_events, verification.verified_events), (5, 5));
        }
    }

    #[test]
    fn an_altered_event_is_named_alone_wherever_it_stands() {
        let keys = Keys::default();
        for place in 0..5 {
            let mut rows = chain(5, &keys);
            let head = head_of(&rows);
            let event_id = rows[place].sealed.event.event_id;
            rows[place].sealed.event.event_data = "{}".to_owned();
            rows[place].sealed = Sealed::new(rows[place].sealed.event.clone());
            let sequence = rows[place].sequence;
            assert_eq!(
                named(&verdict(&rows, &keys, &[], head)),
                [(Tampering::Altered, sequence, Some(event_id))]
            );
            // Also when its hash is computed anew, as anyone can who may write and has no key against them.
            let Row { sealed, previous, .. } = &rows[place];
            rows[place].hash = link(None, previous, sequence, Micros(sequence), &sealed.content_hash);
            assert_eq!(
                named(&verdict(&rows, &keys, &[], head)),
                [(Tampering::Altered, sequence, Some(event_id))]
            );
        }
    }

    #[test]
    fn a_missing_event_is_named_by_its_place_also_at_both_ends() {
        let keys = Keys::default();
        for place in 0..5 {
            let mut rows = chain(5, &keys);
            let head = head_of(&rows);
            let sequence = rows.remove(place).sequence;
            assert_eq!(
                named(&verdict(&rows, &keys, &[], head)),
                [(Tampering::Missing, sequence, None)]
            );
        }
    }

    #[test]
    fn an_inserted_event_is_named_beyond_the_end_and_in_anothers_place() {
        let keys = Keys::default();
        for sequence in [3, 6] {
            let mut rows = chain(5, &keys);
            let head = head_of(&rows);
            let sealed = sealed(99);
            let previous = if sequence == 6 { rows[4].hash } else { rows[1].hash };
            let hash = link(None, &previous, sequence, Micros(sequence), &sealed.content_hash);
            rows.push(Row {
                sealed,
                sequence,
                previous,
                hash,
                key: None,
            });
            assert_eq!(
                named(&verdict(&rows, &keys, &[], head)),
                [(Tampering::Inserted, sequence, id(99))],
                "{sequence}"
            );
        }
    }

    #[test]
    fn a_chain_that_was_written_anew_without_the_key_is_not_valid() {
        let keys = Keys {
            current: Some(Key::new(vec![7; 32])),
            previous: vec![],
        };
        let mut rows = chain(4, &keys);
        rows[1].sealed.event.event_data = "{}".to_owned();
        rows[1].sealed = Sealed::new(rows[1].sealed.event.clone());
        let mut previous = rows[0].hash;
        for row in &mut rows[1..] {
            row.previous = previous;
            row.key = None;
            row.hash = link(
                None,
                &previous,
                row.sequence,
                Micros(row.sequence),
                &row.sealed.content_hash,
            );
            previous = row.hash;
        }
        let verification = verdict(&rows, &keys, &[], head_of(&rows));
        assert!(!verification.is_valid);
        assert_eq!(named(&verification)[0], (Tampering::Altered, 2, id(2)));
    }

    #[test]
    fn an_older_key_still_verifies_and_an_unknown_one_is_told() {
        let old = Keys {
            current: Some(Key::new(vec![1; 32])),
            previous: vec![],
        };
        let rows = chain(2, &old);
        let rotated = Keys {
            current: Some(Key::new(vec![2; 32])),
            previous: vec![Key::new(vec![1; 32])],
        };
        assert!(verdict(&rows, &rotated, &[], head_of(&rows)).is_valid);
        let other = Keys {
            current: Some(Key::new(vec![2; 32])),
            previous: vec![],
        };
        let verification = verdict(&rows, &other, &[], head_of(&rows));
        assert!(verification.tampered_events[0].detail.contains("not configured"));
    }

    #[test]
    fn what_retention_took_is_no_tampering_and_what_is_put_in_its_place_is() {
        let keys = Keys::default();
        let mut rows = chain(6, &keys);
        let head = head_of(&rows);
        let gap = Gap {
            first: 2,
            last: 4,
            previous_hash: rows[1].previous,
            last_hash: rows[3].hash,
        };
        rows.drain(1..4);
        let verification = verdict(&rows, &keys, std::slice::from_ref(&gap), head);
        assert_eq!((verification.is_valid, verification.expired_events), (true, 3));
        let wrong = Gap {
            previous_hash: [9; 32],
            ..gap.clone()
        };
        assert_eq!(
            named(&verdict(&rows, &keys, &[wrong], head)),
            [(Tampering::Altered, 1, id(1))]
        );
        let short = Gap { last: 3, ..gap };
        assert_eq!(
            named(&verdict(&rows, &keys, &[short], head)),
            [(Tampering::Missing, 4, None)]
        );
    }

    #[test]
    fn a_head_that_is_gone_is_told() {
        let keys = Keys::default();
        let rows = chain(2, &keys);
        assert_eq!(
            named(&verdict(&rows, &keys, &[], None)),
            [(Tampering::Missing, 2, None)]
        );
        assert!(verdict(&[], &keys, &[], None).is_valid);
    }
}
