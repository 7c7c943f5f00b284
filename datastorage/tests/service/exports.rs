//! Exports, verified with the public key of the log alone.

use std::fs;
use std::process::Command;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tlog::{Algorithm, SignerKey, VerifierKey};

use crate::log::{checkpoint_of, history, key_of, signing};
use crate::stack::{Service, text};

/// A service with 300 events in the tree of its checkpoint, and their export.
fn exported() -> (Service, VerifierKey, Vec<String>, tempfile::TempDir) {
    let (service, _, folder) = signing();
    history(&service, 30);
    let key = key_of(&service);
    checkpoint_of(&service, &key, 300);
    let export = service.get("/api/v1/audit/export?event_category=gateway").text;
    let lines = export.lines().map(|line| format!("{line}\n")).collect();
    (service, key, lines, folder)
}

/// Verifies an export with the public key alone.
fn verify_export(key: &VerifierKey, lines: &[String]) -> (Option<i32>, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), lines.concat()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_datastorage"))
        .args(["verify-export", "--key", &key.to_string()])
        .arg(file.path())
        .output()
        .unwrap();
    (output.status.code(), text(&output))
}

#[test]
fn export_is_proved_by_the_public_key_alone() {
    let (_service, key, lines, _folder) = exported();
    let (code, printed) = verify_export(&key, &lines);
    assert_eq!(code, Some(0), "{printed}");
    assert!(
        printed.contains("300 events of 30 chains verify; 300 of them are in the signed tree of 300 leaves"),
        "{printed}"
    );
    // Who cuts it has to sign it again.
    for removed in [1..2, 10..11, 290..301, 1..301] {
        let mut cut = lines.clone();
        cut.drain(removed.clone());
        let mut summary: serde_json::Value = serde_json::from_str(&cut.pop().unwrap()).unwrap();
        summary["events"] = json!(cut.len() - 1);
        summary["sha256"] = json!(hex::encode(Sha256::digest(cut.concat())));
        cut.push(format!("{summary}\n"));
        let (code, printed) = verify_export(&key, &cut);
        assert_eq!(code, Some(1), "{removed:?}: {printed}");
        assert!(
            printed.contains("signed statement is of another export"),
            "{printed}"
        );
    }
    let other = SignerKey::generate("example.com/audit", Algorithm::Ed25519).unwrap();
    assert_eq!(verify_export(other.verifier(), &lines).0, Some(1));
}

/// The environment variable `TLOG_PYTHON` names the Python to use; the default is `python3`.
#[cfg(feature = "oracle")]
#[test]
fn aics_tlog_verifies_an_export_by_the_public_key_alone() {
    let (_service, key, lines, folder) = exported();
    let file = folder.path().join("export.ndjson");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/verify_export.py");
    let run = |lines: &[String]| {
        fs::write(&file, lines.concat()).unwrap();
        let python = std::env::var("TLOG_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        Command::new(python)
            .args([script, &key.to_string()])
            .arg(&file)
            .output()
            .unwrap()
    };
    let output = run(&lines);
    let needs = "it needs Python 3.12 with `pip install aics-tlog==0.2.1`";
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "300",
        "{needs}: {}",
        text(&output)
    );
    let mut cut = lines;
    cut.remove(5);
    assert!(!run(&cut).status.success());
}
