//! A run survives the end of its output: a pager that was quit, a terminal that was closed.

#![cfg(test)]

use std::process::{Command, Stdio};

#[test]
fn run_completes_after_its_output_is_closed() {
    let target = tempfile::tempdir().unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["e2e", "--provider", "local", "--only", "preflight"])
        .env("CARGO_TARGET_DIR", target.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    drop(run.stderr.take());
    assert_eq!(run.wait().unwrap().code(), Some(0));
    let reports = std::fs::read_dir(target.path().join("e2e")).unwrap().flatten();
    let written: Vec<_> = reports
        .filter(|run| run.path().join("report.json").is_file())
        .collect();
    assert_eq!(written.len(), 1, "the run ended with its report");
}
