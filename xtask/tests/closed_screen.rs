//! Whoever follows a run may go away: a pager that was left, a terminal that was closed.

#![cfg(test)]

use std::process::{Command, Stdio};

#[test]
fn a_run_goes_on_to_its_end_when_nobody_reads_what_it_tells() {
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
