//! Checkpoints outside of the database: where they are published, and what they find.

use std::fs;
use std::sync::Arc;

use tlog::{Algorithm, Checkpoint, SignerKey};

use crate::log::{checkpoint_of, history, key_of, signing, signing_in, verify};
use crate::stack::{Archive, Servers, text, until};

#[test]
fn targets_get_each_checkpoint_and_missed_ones_afterwards() {
    let archive = Archive::start();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "first\n").unwrap();
    let config = format!(
        "targets = [{{ url = {:?}, token_file = {token:?} }}]\n",
        archive.url()
    );
    let (service, file, _folder) = signing_in(Arc::new(Servers::shared()), &config);
    let dependency = format!("checkpoint_target {}", archive.url());
    let gauge = format!(
        "datastorage_checkpoint_target_size{{target=\"{}\"}}",
        archive.url()
    );
    let received = |size: u64| {
        until("the target has the checkpoint", 30, || {
            let newest = archive.newest();
            let note = fs::read_to_string(&file).unwrap_or_default();
            match service.metric(&gauge) == size as f64
                && newest.as_ref().is_some_and(|(_, text)| *text == note)
            {
                true => Ok(newest.unwrap().0),
                false => Err(format!("{newest:?}")),
            }
        })
    };
    history(&service, 1);
    assert_eq!(received(10), "Bearer first");

    // The token is renewed, and the target rejects what it gets meanwhile.
    fs::write(&token, "second\n").unwrap();
    archive.answer(401);
    history(&service, 1);
    until("the failure is reported", 30, || {
        let (status, ready) = service.readyz();
        let target = &ready["dependencies"][&dependency];
        assert_eq!(status, 200, "a target does not change the readiness");
        match target["status"] == "down" && target["detail"] == "status 401 Unauthorized" {
            true => Ok(()),
            false => Err(ready.to_string()),
        }
    });
    assert_eq!(service.metric(&gauge), 10.0);
    archive.answer(204);
    assert_eq!(received(20), "Bearer second");
    assert_eq!(service.readyz().1["dependencies"][&dependency]["status"], "ok");

    // A process that died may not have delivered its last one: the next process does.
    archive.forget();
    let replica = service.replica();
    assert_eq!(received(20), "Bearer second");

    // A checkpoint of the last moment is delivered before the process ends.
    drop(service);
    history(&replica, 1);
    let (status, _, log) = replica.stop();
    assert!(status.success(), "{log}");
    let (_, newest) = archive.newest().unwrap();
    assert!(newest.contains("\n30\n"), "{newest}\n{log}");
}

#[test]
fn checkpoint_finds_who_rewrites_the_log_too() {
    let (service, file, folder) = signing();
    history(&service, 3);
    let key = key_of(&service);
    checkpoint_of(&service, &key, 30);
    let published = folder.path().join("published");
    fs::copy(&file, &published).unwrap();
    // A chain vanishes with its head and its leaves; the others take their places.
    service.servers.sql(
        "SET session_replication_role = replica;
         CREATE TEMP TABLE gone AS SELECT min(correlation_id) AS id FROM audit_chain_heads;
         DELETE FROM audit_events WHERE correlation_id = (SELECT id FROM gone);
         DELETE FROM audit_chain_heads WHERE correlation_id = (SELECT id FROM gone);
         CREATE TEMP TABLE kept AS SELECT row_number() OVER (ORDER BY leaf_index) - 1 AS place, leaf_index AS before,
             kind, leaf.correlation_id, sequence, last_sequence, entry
             FROM audit_log_leaves AS leaf WHERE correlation_id <> (SELECT id FROM gone);
         UPDATE audit_log_tiles SET hashes = (SELECT string_agg(substr(hashes, (before * 32 + 1)::int, 32), '' ORDER BY place)
             FROM kept) WHERE level = 0 AND tile_index = 0;
         DELETE FROM audit_log_leaves;
         INSERT INTO audit_log_leaves SELECT place, kind, correlation_id, sequence, last_sequence, entry FROM kept;
         UPDATE audit_log_size SET size = (SELECT count(*) FROM kept)",
    );
    let (code, output) = verify(&service, &published);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("put back to an earlier state"), "{output}");
    until("the service notices by itself", 30, || {
        let (_, ready) = service.readyz();
        let transparency = &ready["dependencies"]["transparency"];
        let noticed = service.metric("datastorage_transparency_log_inconsistent") > 0.0;
        if noticed && transparency["status"] == "down" {
            Ok(())
        } else {
            Err(ready.to_string())
        }
    });
    // More events do not hide it, and nothing of it is signed.
    history(&service, 2);
    until("the log grows", 30, || {
        match service.servers.count("SELECT count(*) FROM audit_log_pending") {
            0 => Ok(()),
            waiting => Err(waiting.to_string()),
        }
    });
    let (code, output) = verify(&service, &published);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("has the root"), "{output}");
    assert_eq!(fs::read(&file).unwrap(), fs::read(&published).unwrap());
}

#[test]
fn service_does_not_start_with_a_checkpoint_of_another_log() {
    let (service, file, _folder) = signing();
    history(&service, 1);
    checkpoint_of(&service, &key_of(&service), 10);
    let other = SignerKey::generate("example.com/other", Algorithm::Ed25519).unwrap();
    let checkpoint = Checkpoint {
        origin: "example.com/other".to_owned(),
        size: 1,
        root: [0; 32],
        extensions: Vec::new(),
    };
    fs::write(&file, checkpoint.sign(&other).unwrap().to_string()).unwrap();
    let output = service.run(&["serve"], &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(
        text(&output).contains("is not a checkpoint of this log"),
        "{}",
        text(&output)
    );
}
