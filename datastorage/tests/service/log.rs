//! The transparency log: checkpoints, proofs, and the verification of the whole database.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tlog::{Algorithm, Checkpoint, Note, Proof, SignerKey, VerifierKey, leaf_hash, merkle};

use crate::stack::{Servers, Service, event, id_of, name, text, until};

/// A service that signs checkpoints, and the file that it publishes them in.
pub(crate) fn signing() -> (Service, PathBuf, tempfile::TempDir) {
    signing_in(Arc::new(Servers::shared()), "")
}

pub(crate) fn signing_in(servers: Arc<Servers>, more: &str) -> (Service, PathBuf, tempfile::TempDir) {
    signing_every(50, servers, more)
}

/// With a checkpoint in each interval.
pub(crate) fn signing_every(
    interval_ms: u64,
    servers: Arc<Servers>,
    more: &str,
) -> (Service, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let key = SignerKey::generate("example.com/audit", Algorithm::Ed25519).unwrap();
    let (key_file, file) = (folder.path().join("log-key"), folder.path().join("checkpoint"));
    fs::write(&key_file, key.to_secret_text()).unwrap();
    let config = format!(
        "[transparency]\nkey_file = {key_file:?}\ncheckpoint_file = {file:?}\ninterval_ms = {interval_ms}\n{more}"
    );
    (Service::start_with(servers, &config), file, folder)
}

/// Stores events in chains of ten; returns the ids.
pub(crate) fn history(service: &Service, chains: usize) -> Vec<String> {
    (0..chains)
        .flat_map(|_| {
            let correlation = name("history");
            let events: Vec<_> = (0..10).map(|_| event(&correlation)).collect();
            let answer = service.post("/api/v1/audit/events/batch", &json!(events));
            assert_eq!(answer.status, 201, "{}", answer.text);
            events.iter().map(id_of).collect::<Vec<_>>()
        })
        .collect()
}

fn open(text: &str, key: &VerifierKey) -> Checkpoint {
    let note = Note::from_bytes(text.as_bytes()).unwrap();
    Checkpoint::open(&note, key, &[], 0).unwrap().0
}

/// Waits for a checkpoint of at least `size` leaves.
pub(crate) fn checkpoint_of(service: &Service, key: &VerifierKey, size: u64) -> Checkpoint {
    until("the checkpoint has every event", 30, || {
        let answer = service.get("/api/v1/audit/log/checkpoint");
        if answer.status != 200 {
            return Err(answer.text);
        }
        let checkpoint = open(&answer.text, key);
        if checkpoint.size >= size {
            Ok(checkpoint)
        } else {
            Err(format!("{} leaves", checkpoint.size))
        }
    })
}

pub(crate) fn key_of(service: &Service) -> VerifierKey {
    service.get("/api/v1/audit/log/key").text.trim().parse().unwrap()
}

pub(crate) fn verify(service: &Service, file: &std::path::Path) -> (Option<i32>, String) {
    let output = service.run(&["verify"], &["--checkpoint", file.to_str().unwrap()]);
    (output.status.code(), text(&output))
}

#[test]
fn every_event_is_proved_by_the_public_key_alone() {
    let (service, file, _folder) = signing();
    let first = history(&service, 3);
    let key = key_of(&service);
    let old = checkpoint_of(&service, &key, 30);
    let ids = [first, history(&service, 60)].concat();
    let new = checkpoint_of(&service, &key, 630);
    assert_eq!(open(&fs::read_to_string(&file).unwrap(), &key).size, new.size);
    for id in ids.iter().step_by(37) {
        let proof = service.get(&format!("/api/v1/audit/log/proof/inclusion?event_id={id}"));
        assert_eq!(proof.status, 200, "{}", proof.text);
        assert!(proof.text.len() <= 1536, "{} bytes", proof.text.len());
        let stored = service.get(&format!("/api/v1/audit/events/{id}")).json();
        let hash = hex::decode(stored["event_hash"].as_str().unwrap()).unwrap();
        let proof: Proof = proof.text.parse().unwrap();
        proof
            .verify(&leaf_hash(&[&[1], &hash[..]].concat()), &key, &[], 0)
            .unwrap();
        assert!(
            proof
                .verify(&leaf_hash(&[&[2], &hash[..]].concat()), &key, &[], 0)
                .is_err()
        );
    }
    let path = format!(
        "/api/v1/audit/log/proof/consistency?from={}&to={}",
        old.size, new.size
    );
    let hashes: Vec<merkle::Hash> = service
        .get(&path)
        .text
        .lines()
        .map(|line| {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD.decode(line).unwrap();
            bytes.try_into().unwrap()
        })
        .collect();
    new.is_extension(&old, &hashes).unwrap();
    let tile = service.get("/api/v1/audit/log/tile/0/000");
    assert_eq!(
        (tile.status, tile.kind.as_str()),
        (200, "application/octet-stream")
    );
    for (path, status) in [
        ("tile/0/999", 404),
        ("tile/x", 404),
        ("proof/inclusion", 400),
        ("proof/inclusion?event_id=1", 400),
        (
            "proof/inclusion?event_id=00000000-0000-0000-0000-000000000000",
            404,
        ),
        ("proof/consistency?from=7&to=6", 400),
    ] {
        let answer = service.get(&format!("/api/v1/audit/log/{path}"));
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
    }
    assert_eq!(
        verify(&service, &file).0,
        Some(0),
        "{}",
        verify(&service, &file).1
    );
}

/// A chain of three events, the first of which retention removes.
fn partly_expired(service: &Service) -> String {
    let correlation = name("expired");
    let mut events: Vec<_> = (0..3).map(|_| event(&correlation)).collect();
    let old = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(72);
    events[0]["event_timestamp"] = json!(old.to_string());
    events[0]["retention_days"] = json!(1);
    let answer = service.post("/api/v1/audit/events/batch", &json!(events));
    assert_eq!(answer.status, 201, "{}", answer.text);
    until("retention", 30, || match service.events(&correlation).len() {
        2 => Ok(()),
        count => Err(format!("{count} events")),
    });
    correlation
}

#[test]
fn gaps_of_retention_verify_and_declared_ones_do_not() {
    let retention = "[retention]\ninterval_ms = 1000\n";
    let unsigned = Service::start_with(Arc::new(Servers::shared()), retention);
    let earlier = partly_expired(&unsigned);
    let (_, servers, _) = unsigned.stop();
    let (service, file, folder) = signing_in(servers, retention);
    let later = partly_expired(&service);
    let key = key_of(&service);
    // Five events of the log, two gaps, and the signature of the first one.
    checkpoint_of(&service, &key, 9);
    for correlation in [&earlier, &later] {
        let verification = service.verify(correlation);
        assert_eq!(
            (&verification["is_valid"], &verification["expired_events"]),
            (&json!(true), &json!(1)),
            "{verification}"
        );
    }
    let (code, printed) = verify(&service, &file);
    assert_eq!(code, Some(0), "{printed}");

    // A superuser who enters a gap into the log, too, and lets the service give it its place.
    let signature = SignerKey::generate("example.com/audit", Algorithm::Ed25519).unwrap();
    let mut note = Note::new("kubernaut audit log entry\n").unwrap();
    note.sign(&signature, 0).unwrap();
    for (kind, line) in [(2, String::new()), (3, format!("\n{}", note.signatures()[0]))] {
        let chain = partly_expired(&service);
        service.servers.sql(&format!(
            "SET session_replication_role = replica;
             INSERT INTO audit_chain_gaps (correlation_id, first_sequence, last_sequence, previous_hash, last_hash)
                 SELECT correlation_id, sequence, sequence, previous_hash, event_hash FROM audit_events
                 WHERE correlation_id = '{chain}' AND sequence = 2;
             INSERT INTO audit_log_pending SELECT {kind}, correlation_id, first_sequence, last_sequence,
                 sha256(convert_to(entry, 'UTF8')), entry
                 FROM (SELECT *, audit_gap_entry(gap) || '{line}' AS entry FROM audit_chain_gaps AS gap
                       WHERE correlation_id = '{chain}' AND first_sequence = 2) AS forged;
             DELETE FROM audit_events WHERE correlation_id = '{chain}' AND sequence = 2"
        ));
        let verification = service.verify(&chain);
        assert_eq!(
            verification["tampered_events"][0]["sequence"], 2,
            "{verification}"
        );
        until("the forged gap has its place", 30, || {
            match service.servers.count("SELECT count(*) FROM audit_log_pending") {
                0 => Ok(()),
                count => Err(format!("{count} wait")),
            }
        });
        let (code, printed) = verify(&service, &file);
        assert!(
            code == Some(1) && printed.contains(&format!("{chain:?}, position 2: Missing")),
            "{printed}"
        );
    }
    drop(folder);
}

#[test]
fn legal_holds_that_sql_removes_or_releases_are_reported() {
    const HOLD: &str = "/api/v1/audit/legal-hold";
    let (service, file, _folder) = signing();
    let chains: Vec<String> = (0..4).map(|_| name("held")).collect();
    for chain in &chains {
        assert_eq!(service.write(&event(chain)).status, 201);
        let hold = json!({"correlation_id": chain, "reason": "case 7\nof two lines"});
        assert_eq!(service.post(HOLD, &hold).status, 201);
    }
    let [kept, released, removed, forged] = [0, 1, 2, 3].map(|index: usize| chains[index].as_str());
    let path = format!("{HOLD}?correlation_id={released}&released_by=judge");
    assert_eq!(service.send("DELETE", &path, None, &[]).status, 200);
    // Four events, four holds, a release.
    checkpoint_of(&service, &key_of(&service), 9);
    assert_eq!(
        verify(&service, &file).0,
        Some(0),
        "{}",
        verify(&service, &file).1
    );
    service.servers.sql(&format!(
        "SET session_replication_role = replica; DELETE FROM audit_legal_holds WHERE correlation_id = '{removed}';
         UPDATE audit_legal_holds SET released_at = now(), released_by = 'x' WHERE correlation_id = '{forged}';
         INSERT INTO audit_log_pending SELECT 4, correlation_id, 0, 0, sha256(convert_to(entry, 'UTF8')), entry
             FROM (SELECT correlation_id, audit_release_entry(hold) AS entry FROM audit_legal_holds AS hold
                   WHERE correlation_id = '{forged}') AS release"
    ));
    for chain in [kept, released] {
        assert_eq!(service.verify(chain)["tampered_events"], json!([]));
    }
    for (chain, kind, what) in [
        (removed, "missing", "is in the transparency log, and missing"),
        (forged, "inserted", "the release of legal hold"),
    ] {
        let tampered = &service.verify(chain)["tampered_events"][0];
        let detail = tampered["detail"].as_str().unwrap();
        assert!(tampered["kind"] == kind && detail.contains(what), "{tampered}");
    }
    let (code, printed) = verify(&service, &file);
    assert!(
        code == Some(1) && printed.contains(removed) && printed.contains(forged),
        "{printed}"
    );
}

#[test]
fn timeline_shows_which_events_are_in_the_signed_checkpoint() {
    let (service, _, _folder) = signing();
    let correlation = name("shown");
    for _ in 0..2 {
        assert_eq!(service.write(&event(&correlation)).status, 201);
    }
    let size = checkpoint_of(&service, &key_of(&service), 2).size;
    let page = service.get(&format!("/timeline/{correlation}")).text;
    assert!(
        page.contains("All 2 events are in the signed") && page.contains(&format!("of {size} leaves")),
        "{page}"
    );
    let proof = page
        .split("href=\"")
        .find(|rest| rest.contains("proof/inclusion"))
        .unwrap();
    let path = proof.split('"').next().unwrap();
    assert_eq!(service.get(path).status, 200, "{path}");

    let unsigned = Service::start();
    assert_eq!(unsigned.write(&event(&correlation)).status, 201);
    let page = unsigned.get(&format!("/timeline/{correlation}")).text;
    assert!(
        page.contains("signs no checkpoints") && !page.contains("proof/inclusion"),
        "{page}"
    );
}

#[test]
fn service_verifies_its_database_periodically() {
    let (service, _, _folder) = signing_in(
        Arc::new(Servers::shared()),
        "[verification]\ninterval_ms = 1000\n",
    );
    history(&service, 2);
    let verified = |errors: f64| {
        until("a verification", 30, || {
            let found = [
                "datastorage_verification_errors",
                "datastorage_verified_events_total",
            ]
            .map(|name| service.metric(name));
            match found[0] == errors && found[1] >= 20.0 {
                true => Ok(()),
                false => Err(format!("{found:?}")),
            }
        });
    };
    verified(0.0);
    service.servers.sql(
        "SET session_replication_role = replica; UPDATE audit_events SET severity = 'low' WHERE sequence = 5",
    );
    verified(2.0);
    assert!(service.log().contains("position 5: Altered"), "{}", service.log());
}

#[test]
fn interrupted_verification_goes_on_where_it_was() {
    let (service, file, folder) = signing();
    history(&service, 30);
    checkpoint_of(&service, &key_of(&service), 300);
    let progress = folder.path().join("progress");
    let verify = || {
        let arguments = [
            "--checkpoint",
            file.to_str().unwrap(),
            "--progress",
            progress.to_str().unwrap(),
        ];
        let output = service.run(&["verify"], &arguments);
        (output.status.code(), text(&output))
    };
    // The first chains were verified before.
    fs::write(&progress, "205\n").unwrap();
    let (code, printed) = verify();
    assert!(
        code == Some(0) && printed.contains("90 events of 9 chains"),
        "{printed}"
    );
    assert!(!progress.exists(), "a complete verification begins again");
    assert!(verify().1.contains("300 events of 30 chains"));
    fs::write(&progress, "half\n").unwrap();
    let (code, printed) = verify();
    assert!(
        code == Some(3) && printed.contains("remove it to begin again"),
        "{code:?} {printed}"
    );
    fs::remove_file(&progress).unwrap();
    service
        .servers
        .sql("SET session_replication_role = replica; DELETE FROM audit_events WHERE sequence = 5");
    let (code, printed) = verify();
    assert!(code == Some(1) && !progress.exists(), "{printed}");
}
