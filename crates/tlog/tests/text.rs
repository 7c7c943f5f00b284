//! Text forms: tile paths, bundles, keys, notes, checkpoints, proofs; with the specifications' own examples.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use proptest::prelude::*;
use tlog::note::{MAX_SIGNATURES, Signature};
use tlog::tile::{changed_bundles, changed_tiles};
use tlog::{
    Algorithm, Bundle, Checkpoint, Error, Frontier, Note, Proof, SignerKey, Tile, VerifierKey, leaf_hash,
};

const EXAMPLE_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const EXAMPLE_NOTE: &str = "This is an example message.\n\n— example.com/foo \
     Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn signer(name: &str, algorithm: Algorithm, seed: u8) -> SignerKey {
    SignerKey::from_seed(name, algorithm, [seed; 32]).unwrap()
}

fn tree(size: u64) -> Frontier {
    let mut tree = Frontier::new();
    (0..size).for_each(|index| tree.push(leaf_hash(&index.to_be_bytes())).unwrap());
    tree
}

#[test]
fn verifies_the_example_of_the_signed_note_specification() {
    let key: VerifierKey = EXAMPLE_KEY.parse().unwrap();
    assert_eq!(key.to_string(), EXAMPLE_KEY);
    let note: Note = EXAMPLE_NOTE.parse().unwrap();
    assert_eq!(note.to_string(), EXAMPLE_NOTE);
    assert_eq!(note.verify(&[key], 1).unwrap().len(), 1);
}

#[test]
fn rejects_a_note_with_any_altered_byte() {
    let key: VerifierKey = EXAMPLE_KEY.parse().unwrap();
    for at in 0..EXAMPLE_NOTE.len() {
        for bit in 0..8 {
            let mut bytes = EXAMPLE_NOTE.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let verified =
                Note::from_bytes(&bytes).and_then(|note| note.verify(std::slice::from_ref(&key), 1));
            assert!(verified.is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn rejects_malformed_notes_and_keys() {
    for note in [
        "",
        "\n",
        "a",
        "a\n",
        "a\n\n",
        "a\n\n\n",
        "a\n— b AAAAAAA=\n",
        "a\n\n— b AAAAAAA=",
        "a\n\n— b AAAA\n",
        "a\n\n- b AAAAAAA=\n",
        "a\n\n— b+ AAAAAAA=\n",
        "a\n\n—  AAAAAAA=\n",
        "a\tb\n\n— b AAAAAAA=\n",
        "a\r\n\n— b AAAAAAA=\n",
        "a\n\n— b AAAAAAB=\n",
    ] {
        assert!(note.parse::<Note>().is_err(), "{note:?}");
    }
    assert!("a\n\n— b AAAAAAA=\n".parse::<Note>().is_ok());
    let line = "— b AAAAAAA=\n";
    assert!(
        format!("a\n\n{}", line.repeat(MAX_SIGNATURES))
            .parse::<Note>()
            .is_ok()
    );
    assert!(
        format!("a\n\n{}", line.repeat(MAX_SIGNATURES + 1))
            .parse::<Note>()
            .is_err()
    );
    for key in [
        "",
        "a+b",
        "example.com/foo+530D903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AekyeRrm56hApGFk",
    ] {
        assert!(key.parse::<VerifierKey>().is_err(), "{key}");
    }
}

#[test]
fn private_keys_round_trip_and_are_not_printed() {
    let key = signer("example.com/log", Algorithm::Ed25519, 9);
    let secret = key.to_secret_text();
    assert_eq!(secret.parse::<SignerKey>().unwrap().verifier(), key.verifier());
    let debug = format!("{key:?}");
    assert!(!debug.contains(&secret) && !debug.contains("9, 9, 9"), "{debug}");
}

#[test]
fn a_quorum_counts_distinct_public_keys() {
    let log = signer("log", Algorithm::Ed25519, 1);
    let witnesses: Vec<SignerKey> = (2..5)
        .map(|seed| signer(&format!("w{seed}"), Algorithm::Cosignature, seed))
        .collect();
    let twin = signer("twin", Algorithm::Cosignature, 2);
    let mut known: Vec<VerifierKey> = witnesses.iter().map(|key| key.verifier().clone()).collect();
    known.push(twin.verifier().clone());
    let mut note = Checkpoint::new("log", &tree(5)).sign(&log).unwrap();
    let open = |note: &Note, needed| Checkpoint::open(note, log.verifier(), &known, needed);
    assert!(open(&note, 0).is_ok());
    note.sign(&witnesses[0], 1_679_315_147).unwrap();
    note.sign(&twin, 1_679_315_147).unwrap();
    assert_eq!(
        open(&note, 2).unwrap_err(),
        Error::TooFewSignatures { found: 1, needed: 2 }
    );
    note.sign(&witnesses[1], 1_679_315_148).unwrap();
    let (_, verified) = open(&note, 2).unwrap();
    assert_eq!(
        verified.iter().map(|it| it.time).collect::<Vec<_>>(),
        [None, Some(1_679_315_147), Some(1_679_315_148)]
    );
    // An unknown key is ignored, a known key's invalid signature rejects the note.
    note.sign(&signer("unknown", Algorithm::Ed25519, 7), 0).unwrap();
    assert!(open(&note, 2).is_ok());
    let Signature {
        name,
        key_id,
        mut bytes,
    } = note.signatures()[1].clone();
    bytes[7] ^= 1;
    note.add(Signature { name, key_id, bytes }).unwrap();
    assert_eq!(open(&note, 0).unwrap_err(), Error::Signature("w2".to_owned()));
}

#[test]
fn checkpoints_are_parsed_exactly() {
    let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let checkpoint: Checkpoint = text.parse().unwrap();
    assert_eq!(
        (checkpoint.size, checkpoint.to_string().as_str()),
        (20_852_163, text)
    );
    let extended: Checkpoint = format!("{text}one\ntwo\n").parse().unwrap();
    assert_eq!(extended.extensions, ["one", "two"]);
    for (from, to) in [
        ("20852163", "020852163"),
        ("20852163", "+20852163"),
        ("20852163", "-1"),
        ("20852163", ""),
        ("20852163", "9223372036854775808"),
        ("2I=\n", "2I=\n\n"),
        ("2I=\n", "2I="),
        ("2I=", "2J="),
        ("2I=", "2I"),
        ("example.com/behind-the-sofa", ""),
        ("2I=", "AAAA2I="),
        ("2I=\n", "2I=\r\n"),
    ] {
        assert!(
            text.replace(from, to).parse::<Checkpoint>().is_err(),
            "{from:?} as {to:?}"
        );
    }
    let key = signer("log", Algorithm::Ed25519, 1);
    let injected = Checkpoint {
        origin: "log\n9".to_owned(),
        ..checkpoint
    };
    assert!(injected.sign(&key).is_err());
    let other = Checkpoint::new("other", &tree(1)).sign(&key).unwrap();
    assert!(matches!(
        Checkpoint::open(&other, key.verifier(), &[], 0),
        Err(Error::Origin { .. })
    ));
}

#[test]
fn a_checkpoint_extends_only_its_own_log() {
    let old = Checkpoint::new("log", &tree(3));
    let new = Checkpoint::new("log", &tree(4));
    let leaves: Vec<u8> = (0..4_u64)
        .flat_map(|index| leaf_hash(&index.to_be_bytes()))
        .collect();
    let proof = tlog::prove::consistency(3, 4, |_| Ok::<_, Error>(leaves.clone())).unwrap();
    assert_eq!(new.is_extension(&old, &proof), Ok(()));
    assert!(old.is_extension(&new, &proof).is_err());
    assert!(
        new.is_extension(
            &Checkpoint {
                root: [0; 32],
                ..old.clone()
            },
            &proof
        )
        .is_err()
    );
    assert!(
        new.is_extension(
            &Checkpoint {
                origin: "other".to_owned(),
                ..old
            },
            &proof
        )
        .is_err()
    );
}

#[test]
fn proof_texts_round_trip_and_any_altered_line_is_rejected() {
    let key = signer("log", Algorithm::Ed25519, 1);
    let leaves: Vec<u8> = (0..7_u64)
        .flat_map(|index| leaf_hash(&index.to_be_bytes()))
        .collect();
    let hashes = tlog::prove::inclusion(4, 7, |_| Ok::<_, Error>(leaves.clone())).unwrap();
    let checkpoint = Checkpoint::new("log", &tree(7)).sign(&key).unwrap();
    let text = Proof {
        extra: Some(b"context".to_vec()),
        index: 4,
        hashes,
        checkpoint,
    }
    .to_string();
    let verify = |text: &str| {
        text.parse::<Proof>()
            .and_then(|proof| proof.verify(&leaf_hash(&4_u64.to_be_bytes()), key.verifier(), &[], 0))
    };
    assert_eq!(text.parse::<Proof>().unwrap().to_string(), text);
    assert_eq!(verify(&text).unwrap().size, 7);
    let unauthenticated = text.find("extra ").unwrap()..text.find("index ").unwrap();
    for at in (0..text.len()).filter(|at| !unauthenticated.contains(at) && text.is_char_boundary(*at)) {
        let next = (at + 1..).find(|at| text.is_char_boundary(*at)).unwrap();
        let altered = format!(
            "{}{}{}",
            &text[..at],
            if &text[at..next] == "A" { "B" } else { "A" },
            &text[next..]
        );
        assert!(verify(&altered).is_err(), "{altered}");
    }
}

#[test]
fn tiles_of_the_specification_are_listed() {
    let paths: Vec<String> = changed_tiles(69_888, 70_000)
        .map(|tile| tile.to_string())
        .collect();
    assert_eq!(paths, ["tile/0/273.p/112"]);
    let widths: Vec<_> = changed_tiles(0, 70_000)
        .filter(|it| !it.is_full())
        .map(|it| it.to_string())
        .collect();
    assert_eq!(widths, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    assert_eq!(
        changed_tiles(0, 70_000).filter(|tile| tile.is_full()).count(),
        274
    );
    assert_eq!(changed_tiles(5, 5).count(), 0);
    let bundles: Vec<_> = changed_bundles(255, 257).map(|it| it.to_string()).collect();
    assert_eq!(bundles, ["tile/entries/000", "tile/entries/001.p/1"]);
}

#[test]
fn rejects_paths_in_any_other_form() {
    assert_eq!("tile/3/x001/x234/067".parse::<Tile>().unwrap().index(), 1_234_067);
    for path in [
        "tile/64/000",
        "tile/00/000",
        "tile/0/1",
        "tile/0/0001",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/0/001/002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/+00",
        "tile/+0/000",
        "tile/0/",
        "tile/entries/000",
        "tile/0/xx1/000",
        "/tile/0/000",
        "tile/0/000.p/1/",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert!(path.parse::<Tile>().is_err(), "{path}");
    }
    assert!("tile/0/000".parse::<Bundle>().is_err());
}

#[test]
fn rejects_bundles_that_are_cut_off_too_long_or_too_wide() {
    let bundle = Bundle::new(0, 2).unwrap();
    let data = Bundle::encode(["a", ""]).unwrap();
    assert_eq!(data, [0, 1, b'a', 0, 0]);
    assert_eq!(bundle.entries(&data).unwrap(), [b"a".as_slice(), b""]);
    for wrong in [
        &data[..4],
        &data[..3],
        &data[..2],
        &[data.as_slice(), &[0]].concat(),
        &[data.as_slice(), &[0, 0]].concat(),
    ] {
        assert!(bundle.entries(wrong).is_err(), "{wrong:?}");
    }
    assert!(Bundle::encode([vec![0; 65_536]]).is_err());
    assert!(Bundle::encode(vec![""; 257]).is_err());
}

proptest! {
    #[test]
    fn paths_round_trip(level in 0_u8..64, index in 0..tlog::MAX_SIZE, width in 1_u16..=256) {
        let tile = Tile::new(level, index, width)?;
        prop_assert_eq!(tile.to_string().parse(), Ok(tile));
        let bundle = Bundle::new(index, width)?;
        prop_assert_eq!(bundle.to_string().parse(), Ok(bundle));
    }

    #[test]
    fn bundles_round_trip(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256)) {
        let bundle = Bundle::new(0, entries.len() as u16)?;
        let data = Bundle::encode(&entries)?;
        prop_assert_eq!(bundle.entries(&data)?, entries);
    }

    #[test]
    fn arbitrary_texts_are_parsed_to_what_prints_the_same_or_rejected(text in "[ab\n— +A=0-9x/.p]{0,60}") {
        if let Ok(note) = text.parse::<Note>() {
            prop_assert_eq!(note.to_string(), text.as_str());
        }
        if let Ok(tile) = format!("tile/{text}").parse::<Tile>() {
            prop_assert_eq!(tile.to_string(), format!("tile/{text}"));
        }
    }
}
