use super::*;
use sha2::{Digest as _, Sha256};

use crate::domain::chain::{Key, Period, link};
use crate::domain::event::Sealed;
use crate::domain::event::tests::{read, valid};
use crate::domain::log::{Kind, Leaf};
use crate::domain::stored::{DataSeal, Place};

/// Microseconds: later than any event here.
const DAY: i64 = 24 * 3600 * 1_000_000;

/// A service that writes with this key only.
fn with_key(secret: u8) -> Keys {
    Keys(vec![Key::new(vec![secret; 32], Period::default())])
}

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
    Sealed::new(read(&value).unwrap())
}

fn chain(length: i64, keys: &Keys) -> Vec<Row> {
    let mut previous = GENESIS;
    (1..=length)
        .map(|sequence| {
            let sealed = sealed(sequence);
            let hash = link(
                keys.0.first(),
                &previous,
                sequence,
                Micros(sequence),
                &sealed.chained_hash,
            );
            let key = keys.0.first().map(|key| key.id().to_owned());
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

fn verdict_links(rows: &[Row], keys: &Keys) -> Vec<Link> {
    rows.iter()
        .map(|row| {
            let place = Place {
                sequence: row.sequence,
                recorded_at: Micros(row.sequence),
                previous_hash: row.previous,
                event_hash: row.hash,
                chain_key: row.key.clone(),
            };
            Link::of(&row.sealed.event, DataSeal::Salted(row.sealed.salt), &place, keys)
        })
        .collect()
}

fn verdict(rows: &[Row], keys: &Keys, gaps: &[Gap], head: Option<Head>) -> ChainVerification {
    let links = verdict_links(rows, keys);
    let log = log_of(rows, gaps);
    verify(Chain {
        correlation_id: "c",
        links,
        gaps: gaps.to_vec(),
        head,
        holds: BTreeSet::new(),
        log,
        keys,
        now: Micros(DAY),
    })
}

/// Verifies a chain whose log has all of it.
fn verify_links(links: Vec<Link>, keys: &Keys, now: Micros) -> ChainVerification {
    let leaves = links.iter().map(|link| Leaf {
        kind: Kind::Event,
        sequence: link.sequence,
        last_sequence: link.sequence,
        leaf_hash: Kind::Event.leaf_hash(&link.event_hash),
        entry: None,
    });
    let log = ChainLog::new(leaves.collect::<Vec<_>>(), None);
    let head = links.last().map(|link| Head {
        sequence: link.sequence,
        hash: link.event_hash,
    });
    verify(Chain {
        correlation_id: "c",
        links,
        gaps: vec![],
        head,
        holds: BTreeSet::new(),
        log,
        keys,
        now,
    })
}

/// A log that agrees with everything, as if it had grown after the tampering: the chain has to find it alone.
fn log_of(rows: &[Row], gaps: &[Gap]) -> ChainLog {
    let events = rows.iter().map(|row| Leaf {
        kind: Kind::Event,
        sequence: row.sequence,
        last_sequence: row.sequence,
        leaf_hash: Kind::Event.leaf_hash(&row.hash),
        entry: None,
    });
    let gaps = gaps.iter().map(|gap| Leaf {
        kind: Kind::Gap,
        sequence: gap.first,
        last_sequence: gap.last,
        leaf_hash: Kind::Gap.leaf_hash(&Sha256::digest(&gap.entry).into()),
        entry: Some(gap.entry.clone()),
    });
    ChainLog::new(events.chain(gaps), None)
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
fn untouched_chain_is_valid_with_and_without_a_key() {
    for keys in [Keys::default(), with_key(7)] {
        let rows = chain(5, &keys);
        let verification = verdict(&rows, &keys, &[], head_of(&rows));
        assert_eq!(named(&verification), []);
        assert_eq!((verification.total_events, verification.verified_events), (5, 5));
    }
}

#[test]
fn altered_event_is_reported_alone_at_every_position() {
    let keys = Keys::default();
    for place in 0..5 {
        let mut rows = chain(5, &keys);
        let head = head_of(&rows);
        let event_id = rows[place].sealed.event.event_id;
        rows[place].sealed.event.event_data = "{}".to_owned();
        let sequence = rows[place].sequence;
        assert_eq!(
            named(&verdict(&rows, &keys, &[], head)),
            [(Tampering::Altered, sequence, Some(event_id))]
        );
        // Also when its hash is recomputed, as any writer can without a key.
        let Row { sealed, previous, .. } = &rows[place];
        rows[place].hash = link(None, previous, sequence, Micros(sequence), &sealed.chained_hash);
        assert_eq!(
            named(&verdict(&rows, &keys, &[], head)),
            [(Tampering::Altered, sequence, Some(event_id))]
        );
    }
}

#[test]
fn missing_event_is_reported_by_its_position_at_both_ends_too() {
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
fn inserted_event_is_reported_beyond_the_end_and_at_a_taken_position() {
    let keys = Keys::default();
    for sequence in [3, 6] {
        let mut rows = chain(5, &keys);
        let head = head_of(&rows);
        let sealed = sealed(99);
        let previous = if sequence == 6 { rows[4].hash } else { rows[1].hash };
        let hash = link(None, &previous, sequence, Micros(sequence), &sealed.chained_hash);
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
fn chain_rewritten_without_the_key_is_invalid() {
    let keys = with_key(7);
    let mut rows = chain(4, &keys);
    rows[1].sealed.event.event_data = "{}".to_owned();
    let data = DataSeal::Salted(rows[1].sealed.salt);
    rows[1].sealed.chained_hash = data.chained_hash(&rows[1].sealed.event);
    let mut previous = rows[0].hash;
    for row in &mut rows[1..] {
        row.previous = previous;
        row.key = None;
        row.hash = link(
            None,
            &previous,
            row.sequence,
            Micros(row.sequence),
            &row.sealed.chained_hash,
        );
        previous = row.hash;
    }
    // Rows of 1970: the key was in use then.
    let keys = Keys(vec![Key::new(
        vec![7; 32],
        Period {
            start: Some(Micros(-DAY)),
            end: None,
        },
    )]);
    let verification = verdict(&rows, &keys, &[], head_of(&rows));
    assert!(!verification.is_valid);
    assert_eq!(named(&verification)[0], (Tampering::Altered, 2, id(2)));
}

/// A chain of one event in each of these hours, each stored with these keys.
fn chain_over_hours(hours_and_keys: &[(i64, &Keys)], reader: &Keys) -> Vec<Link> {
    let mut previous = GENESIS;
    let mut links = Vec::new();
    for (sequence, (hour, keys)) in (1..).zip(hours_and_keys) {
        let sealed = sealed(sequence);
        let recorded_at = Micros(hour * DAY / 24);
        let key = keys.at(recorded_at);
        let event_hash = link(key, &previous, sequence, recorded_at, &sealed.chained_hash);
        let place = Place {
            sequence,
            recorded_at,
            previous_hash: previous,
            event_hash,
            chain_key: key.map(|key| key.id().to_owned()),
        };
        links.push((sealed, place));
        previous = event_hash;
    }
    links
        .iter()
        .map(|(sealed, place)| Link::of(&sealed.event, DataSeal::Salted(sealed.salt), place, reader))
        .collect()
}

#[test]
fn replicas_of_a_rolling_update_may_differ_in_their_keys() {
    let (none, old, new) = (Keys::default(), with_key(1), with_key(2));
    let both = Keys([&new.0[..], &old.0[..]].concat());
    let hour = 3_600_000_000;
    for (name, chain, reader, now, unverifiable, valid) in [
        (
            "introduced",
            vec![(1, &none), (1, &new), (1, &none), (1, &new)],
            &new,
            9,
            0,
            true,
        ),
        (
            "introduced, read without it",
            vec![(1, &none), (1, &new)],
            &none,
            1,
            1,
            true,
        ),
        (
            "changed",
            vec![(1, &old), (1, &both), (1, &old)],
            &both,
            9,
            0,
            true,
        ),
        (
            "changed, read without it",
            vec![(1, &old), (1, &both), (1, &old)],
            &old,
            1,
            1,
            true,
        ),
        (
            "never configured",
            vec![(1, &none), (1, &new)],
            &none,
            3,
            0,
            false,
        ),
        (
            "without the key, hours later",
            vec![(1, &new), (3, &none)],
            &new,
            9,
            0,
            false,
        ),
    ] {
        let rows = chain_over_hours(&chain, reader);
        let verification = verify_links(rows, reader, Micros(now * hour));
        assert_eq!(
            (verification.is_valid, verification.unverifiable_events),
            (valid, unverifiable),
            "{name}: {verification:?}"
        );
    }
}

#[test]
fn older_key_still_verifies_until_its_end() {
    let old = |end| {
        Key::new(
            vec![1; 32],
            Period {
                start: None,
                end: Some(Micros(end)),
            },
        )
    };
    let rows = chain(2, &with_key(1));
    let rotated = |end| Keys(vec![with_key(2).0[0].clone(), old(end)]);
    assert!(verdict(&rows, &rotated(DAY), &[], head_of(&rows)).is_valid);
    let verification = verdict(&rows, &rotated(-DAY), &[], head_of(&rows));
    assert!(verification.tampered_events[0].detail.contains("not in use"));
    let verification = verdict(&rows, &with_key(2), &[], head_of(&rows));
    assert!(verification.tampered_events[0].detail.contains("not configured"));
}

#[test]
fn removal_by_retention_is_valid_and_a_replacement_is_not() {
    let keys = Keys::default();
    let mut rows = chain(6, &keys);
    let head = head_of(&rows);
    let gap = Gap {
        first: 2,
        last: 4,
        previous_hash: rows[1].previous,
        last_hash: rows[3].hash,
        entry: String::new(),
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
fn missing_head_is_reported() {
    let keys = Keys::default();
    let rows = chain(2, &keys);
    assert_eq!(
        named(&verdict(&rows, &keys, &[], None)),
        [(Tampering::Missing, 2, None)]
    );
    assert!(verdict(&[], &keys, &[], None).is_valid);
}

#[test]
fn log_finds_what_a_chain_alone_cannot() {
    let keys = Keys::default();
    let rows = chain(5, &keys);
    let head = head_of(&rows);
    let log = log_of(&rows, &[]);
    let links = |rows: &[Row]| verdict_links(rows, &keys);
    let verify_with = |links, gaps, head| {
        named(&verify(Chain {
            correlation_id: "c",
            links,
            gaps,
            head,
            holds: BTreeSet::new(),
            log: log.clone(),
            keys: &keys,
            now: Micros(DAY),
        }))
    };
    assert_eq!(verify_with(links(&rows), vec![], head), []);
    // The end is cut off, and the head set back.
    let cut = verify_with(links(&rows[..3]), vec![], head_of(&rows[..3]));
    assert_eq!(
        cut,
        [(Tampering::Missing, 4, None), (Tampering::Missing, 5, None)]
    );
    // An event is removed, and said to be removed by retention.
    let gap = Gap {
        first: 3,
        last: 3,
        previous_hash: rows[2].previous,
        last_hash: rows[2].hash,
        entry: "gap".to_owned(),
    };
    let mut without = rows;
    without.remove(2);
    let declared = verify_with(links(&without), vec![gap], head);
    assert_eq!(declared[0], (Tampering::Missing, 3, None));
    // Everything is removed.
    assert_eq!(verify_with(vec![], vec![], None).len(), 5);
    // The chain is written again.
    let stolen = with_key(9);
    let forged = chain(5, &stolen);
    let again = verify_with(verdict_links(&forged, &stolen), vec![], head_of(&forged));
    assert_eq!(again.len(), 5);
    assert!(again.iter().all(|(kind, _, _)| *kind == Tampering::Altered));
}

#[test]
fn huge_positions_take_no_time() {
    let keys = Keys::default();
    let rows = chain(3, &keys);
    let head = Some(Head {
        sequence: i64::MAX,
        hash: GENESIS,
    });
    let gap = |first| Gap {
        first,
        last: i64::MAX - 10,
        previous_hash: GENESIS,
        last_hash: GENESIS,
        entry: first.to_string(),
    };
    let verification = verdict(&rows, &keys, &[gap(1_000_000), gap(2_000_000)], head);
    assert!(!verification.is_valid);
    assert_eq!(verification.expired_events, i64::MAX - 10 - 1_000_000 + 1);
    assert!(verification.tampered_events.len() < 20);
}
