use super::*;

use sha2::{Digest as _, Sha256};
use tlog::{Algorithm, Frontier, prove};

use crate::domain::chain::{GENESIS, Keys, Period, link};
use crate::domain::event::Sealed;
use crate::domain::event::tests::{NOW, read, valid};
use crate::domain::log::Kind;
use crate::domain::stored::DataSeal;
use crate::domain::trust::Trust;

/// The keys of the service: one of the log, or one of the chain, or none.
fn keys(log: bool, chain: bool) -> ExportKeys {
    ExportKeys {
        log: log.then(|| {
            Arc::new(SignerKey::from_seed("example.com/audit", Algorithm::Ed25519, [1; 32]).unwrap())
        }),
        chain: chain.then(|| Key::new(vec![2; 32], Period::default())),
    }
}

/// What a reader of the export has.
fn trust(keys: &ExportKeys) -> Trust {
    Trust {
        chain: Keys(keys.chain.iter().cloned().collect()),
        log: keys.log.as_ref().map(|key| key.verifier().clone()),
    }
}

fn stored(keys: &ExportKeys) -> Vec<Stored> {
    let mut previous = GENESIS;
    let one = |sequence: i64| {
        let mut value = valid();
        value["event_id"] = uuid::Uuid::from_u128(u128::try_from(sequence).unwrap())
            .to_string()
            .into();
        let sealed = Sealed::new(read(&value).unwrap());
        let event_hash = link(
            keys.chain.as_ref(),
            &previous,
            sequence,
            NOW,
            &sealed.chained_hash,
        );
        let stored = Stored {
            event: sealed.event,
            sequence,
            recorded_at: NOW,
            previous_hash: previous,
            event_hash,
            chain_key: keys.chain.as_ref().map(|key| key.id().to_owned()),
            data: DataSeal::Salted(sealed.salt),
        };
        previous = event_hash;
        stored
    };
    (1..=4).map(one).collect()
}

/// The lines without a summary, and the checkpoint. The last of the four events is too new for it.
fn lines(keys: &ExportKeys) -> (Vec<String>, Option<Checkpoint>) {
    let stored = stored(keys);
    let Some(key) = &keys.log else {
        let lines = stored.into_iter().map(|stored| Line::of(stored, None).unwrap());
        return (
            lines.map(|line| serde_json::to_string(&line).unwrap()).collect(),
            None,
        );
    };
    let leaves: Vec<Hash> = stored[..3]
        .iter()
        .map(|stored| Kind::Event.leaf_hash(&stored.event_hash))
        .collect();
    let mut tree = Frontier::new();
    leaves.iter().for_each(|leaf| tree.push(*leaf).unwrap());
    let checkpoint = Checkpoint::new("example.com/audit", &tree);
    let note = checkpoint.sign(key).unwrap().to_string();
    let read = |_| Ok::<_, tlog::Error>(leaves.as_flattened().to_vec());
    let mut lines = vec![serde_json::to_string(&Header::new(&note)).unwrap()];
    for (index, stored) in (0..).zip(stored) {
        let leaf = (index < 3).then(|| Leaf {
            index,
            proof: Some(prove::inclusion(index, 3, read).unwrap()),
        });
        lines.push(serde_json::to_string(&Line::of(stored, leaf).unwrap()).unwrap());
    }
    (lines, Some(checkpoint))
}

/// Adds the summary that belongs to the lines, proved with these keys.
fn whole(mut lines: Vec<String>, checkpoint: Option<&Checkpoint>, keys: &ExportKeys) -> Vec<String> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let events = lines
        .iter()
        .filter(|line| line.contains("\"type\":\"event\""))
        .count();
    let sha256 = hex::encode(Sha256::digest(text));
    let summary = Summary::new("event_type=a".to_owned(), events as u64, sha256, checkpoint, keys).unwrap();
    lines.push(serde_json::to_string(&summary).unwrap());
    lines
}

fn checked(lines: &[String], keys: &ExportKeys) -> Checked {
    check(lines.join("\n").as_bytes(), &trust(keys)).unwrap()
}

#[test]
fn honest_exports_verify_with_and_without_keys() {
    for (log, chain) in [(false, false), (false, true), (true, false), (true, true)] {
        let keys = keys(log, chain);
        let (lines, checkpoint) = lines(&keys);
        let expected = Checked {
            events: 4,
            chains: 1,
            proven: if log { 3 } else { 0 },
            tree: log.then_some(3),
            is_sealed: log || chain,
            ..Checked::default()
        };
        assert_eq!(
            checked(&whole(lines, checkpoint.as_ref(), &keys), &keys),
            expected
        );
    }
}

#[test]
fn public_key_of_the_log_is_enough() {
    let all = keys(true, false);
    let (lines, checkpoint) = lines(&all);
    let export = whole(lines, checkpoint.as_ref(), &keys(true, true));
    assert_eq!(checked(&export, &all).errors, Vec::<String>::new());
}

/// Who has no key can only make a summary without proofs, or keep the old ones.
#[test]
fn cut_exports_do_not_verify_whatever_their_summary_says() {
    for (log, chain) in [(false, true), (true, false), (true, true)] {
        let keys = keys(log, chain);
        let (lines, checkpoint) = lines(&keys);
        let honest = whole(lines.clone(), checkpoint.as_ref(), &keys);
        let first = lines.len() - 4;
        for removed in [
            vec![first],
            vec![first + 1],
            vec![first + 3],
            (first..first + 4).collect(),
        ] {
            let kept: Vec<String> = (0..lines.len())
                .filter(|index| !removed.contains(index))
                .map(|index| lines[index].clone())
                .collect();
            let forged = whole(kept, checkpoint.as_ref(), &ExportKeys::default());
            assert_eq!(checked(&forged, &keys).error_count, 1, "{removed:?}");
            let old: serde_json::Value = serde_json::from_str(honest.last().unwrap()).unwrap();
            let mut summary: serde_json::Value = serde_json::from_str(forged.last().unwrap()).unwrap();
            for proof in ["signed_statement", "statement_mac", "mac_key"] {
                summary[proof] = old[proof].clone();
            }
            let mut replayed = forged;
            *replayed.last_mut().unwrap() = summary.to_string();
            assert_eq!(checked(&replayed, &keys).error_count, 1, "{removed:?}");
        }
    }
}

#[test]
fn events_outside_of_the_tree_are_found() {
    let keys = keys(true, false);
    let (lines, checkpoint) = lines(&keys);
    let forge = |index: usize, from: &str, to: &str| {
        let mut lines = lines.clone();
        assert!(lines[index].contains(from));
        lines[index] = lines[index].replace(from, to);
        // As the service would sign it if its database said so.
        checked(&whole(lines, checkpoint.as_ref(), &keys), &keys).errors
    };
    assert!(forge(2, "\"leaf_index\":1", "\"leaf_index\":2")[0].contains("not in the tree"));
    assert!(forge(2, "\"inclusion_proof\"", "\"other\"")[0].contains("no inclusion proof"));
    assert!(forge(2, "\"a\":\"x\"", "\"a\":\"y\"")[0].contains("is not what was stored"));
    assert!(
        forge(0, "example.com/audit\\n3\\n", "example.com/audit\\n2\\n")[0].contains("checkpoint is invalid")
    );
    // An event that was stored long before those of the tree, and is not in it.
    let mut late = stored(&keys);
    late[3].recorded_at.0 -= 3_600_000_000;
    let chained_hash = late[3].data.chained_hash(&late[3].event);
    late[3].event_hash = link(None, &late[2].event_hash, 4, late[3].recorded_at, &chained_hash);
    let mut lines = lines.clone();
    lines[4] = serde_json::to_string(&Line::of(late.remove(3), None).unwrap()).unwrap();
    let errors = checked(&whole(lines, checkpoint.as_ref(), &keys), &keys).errors;
    // Its salt is another one, so that its link does not fit either.
    assert!(
        errors
            .iter()
            .any(|error| error.contains("not in the checkpoint, but later ones are")),
        "{errors:?}"
    );
}

#[test]
fn altered_lines_and_missing_summaries_are_found_without_keys() {
    let keys = keys(false, false);
    let (lines, _) = lines(&keys);
    let export = whole(lines.clone(), None, &keys);
    let mut altered = lines.clone();
    altered[1] = altered[1].replace("\"a\":\"x\"", "\"a\":\"y\"");
    let errors = checked(&whole(altered, None, &keys), &keys).errors;
    assert!(errors[0].starts_with("line 2: event"), "{errors:?}");
    assert!(checked(&lines, &keys).errors[0].contains("the summary is missing"));
    let mut taken = export;
    taken.remove(1);
    assert!(checked(&taken, &keys).errors[0].contains("does not match these lines"));
}
