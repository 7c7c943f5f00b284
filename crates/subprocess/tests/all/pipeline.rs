//! Pipelines: data, failures and their causes.

use std::fs;
use std::time::Duration;

use crate::common::helper;
use subprocess::{Cancel, Outcome, Pipeline};

#[test]
fn passes_all_data_and_writes_both_logs() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("load.log");
    let pipeline = Pipeline::new(
        helper(&["bytes", "50000000"]).log(&log),
        helper(&["count"]).name("import").log(&log),
    );
    let output = pipeline.run(&Cancel::never()).unwrap();
    assert_eq!(output.last_lines.last().map(String::as_str), Some("50000000"));
    let text = fs::read_to_string(&log).unwrap();
    assert!(
        text.contains("bytes 50000000\n") && text.contains(" count\n") && text.ends_with("50000000\n"),
        "{text}"
    );
}

#[test]
fn failure_of_the_first_is_reported_when_the_second_succeeds() {
    let pipeline = Pipeline::new(
        helper(&["fail", "5", "no such image"]).name("save"),
        helper(&["count"]),
    );
    let failure = pipeline.run(&Cancel::never()).unwrap_err();
    assert_eq!((failure.name(), failure.exit_code()), ("save", Some(5)));
    assert!(failure.other_side().is_none());
}

#[test]
fn failure_of_the_first_is_the_cause_when_both_fail() {
    let pipeline = Pipeline::new(
        helper(&["fail", "5", "no such image"]).name("save"),
        helper(&["choke", "1"]).name("import"),
    );
    let failure = pipeline.run(&Cancel::never()).unwrap_err();
    assert_eq!((failure.name(), failure.exit_code()), ("save", Some(5)));
    assert_eq!(failure.other_side().unwrap().name(), "import");
    assert!(
        failure.to_string().contains("no such image")
            && failure.to_string().contains("and import: exit code")
    );
}

#[test]
fn failure_of_the_second_is_the_cause_when_the_first_gets_a_broken_pipe() {
    let pipeline = Pipeline::new(
        helper(&["bytes", "50000000"]).name("save"),
        helper(&["choke", "1000"]).name("import"),
    );
    let failure = pipeline.run(&Cancel::never()).unwrap_err();
    assert_eq!((failure.name(), failure.exit_code()), ("import", Some(4)));
    assert_eq!(failure.last_lines(), ["no space left"]);
}

#[test]
fn failure_of_the_second_is_the_cause_when_sigpipe_ends_the_first() {
    let endless = subprocess::Command::new(std::process::Command::new("yes"));
    let failure = Pipeline::new(endless, helper(&["choke", "1000"]).name("import"))
        .run(&Cancel::never())
        .unwrap_err();
    assert_eq!((failure.name(), failure.exit_code()), ("import", Some(4)));
    assert!(failure.other_side().is_none(), "{failure}");
}

#[test]
fn the_first_does_not_start_when_the_second_cannot() {
    let missing = subprocess::Command::new(std::process::Command::new("no-such-program-here"));
    let failure = Pipeline::new(helper(&["forever"]), missing)
        .run(&Cancel::never())
        .unwrap_err();
    assert_eq!(failure.name(), "no-such-program-here");
}

#[test]
fn each_side_has_its_own_deadline() {
    let hangs = || helper(&["forever"]).deadline(Duration::from_millis(200));
    let from = Pipeline::new(hangs().name("save"), helper(&["count"]))
        .run(&Cancel::never())
        .unwrap_err();
    assert_eq!(
        (from.name(), from.outcome()),
        ("save", &Outcome::Deadline(Duration::from_millis(200)))
    );
    let into = Pipeline::new(helper(&["bytes", "50000000"]), hangs().name("import"));
    let into = into.run(&Cancel::never()).unwrap_err();
    assert_eq!(
        (into.name(), into.outcome()),
        ("import", &Outcome::Deadline(Duration::from_millis(200)))
    );
}

#[test]
fn cancellation_ends_both() {
    let cancel = Cancel::new();
    let fire = cancel.clone();
    let (sender, started) = std::sync::mpsc::channel();
    let from = helper(&["family"]).observe(move |_| {});
    let into = helper(&["show", "HOME"]).observe(move |_| sender.send(()).unwrap());
    let running = std::thread::spawn(move || Pipeline::new(from, into).run(&cancel));
    started.recv_timeout(crate::common::LONG).unwrap();
    fire.cancel();
    assert!(running.join().unwrap().unwrap_err().is_cancelled());
}
