//! Recorded processes and orphans.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::{LONG, helper};
use subprocess::{Cancel, Orphan, Process, Record, RecordError};

/// Returns a recorded process whose parent has exited already.
fn detached(folder: &Path) -> Record {
    let (record, log) = (folder.join("processes/show.json"), folder.join("logs/show.log"));
    let arguments = ["detach", record.to_str().unwrap(), log.to_str().unwrap()];
    helper(&arguments).run(&Cancel::never()).unwrap();
    Record::read(&record).unwrap()
}

/// Waits until the log has this many lines with the text.
fn wait_for_lines(log: &Path, text: &str, count: usize) -> String {
    let until = Instant::now() + LONG;
    loop {
        let content = fs::read_to_string(log).unwrap_or_default();
        if content.lines().filter(|line| line.contains(text)).count() == count {
            return content;
        }
        assert!(
            Instant::now() < until,
            "waited for {count} lines with {text:?}, have:\n{content}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn another_process_stops_a_recorded_process_and_starts_it_again_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("processes/show.json");
    let log = folder.path().join("logs/show.log");
    let first = detached(folder.path());
    assert!(first.is_alive());
    let line = format!("COLOUR=green in {}", first.cwd.display());
    wait_for_lines(&log, &line, 1);

    first.stop(LONG).unwrap();
    assert!(!first.is_alive());
    first.stop(LONG).unwrap();

    let second = first.start(&path).unwrap();
    assert!(second.is_alive() && second.process != first.process);
    assert_eq!(Record::read(&path).unwrap(), second);
    assert_eq!(
        Record {
            process: first.process.clone(),
            pgid: first.pgid,
            ..second.clone()
        },
        first
    );
    wait_for_lines(&log, &line, 2);
    assert!(
        matches!(second.start(&path), Err(RecordError::Running { pid, .. }) if pid == second.process.pid)
    );

    second.kill().unwrap();
    assert!(!second.is_alive());
}

#[test]
fn a_process_with_a_reused_id_is_not_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let real = detached(folder.path());
    let mut earlier = real.clone();
    earlier.process.start_time.push('0');
    assert!(!earlier.is_alive());
    earlier.stop(LONG).unwrap();
    earlier.kill().unwrap();
    assert!(real.is_alive());
    real.kill().unwrap();
}

#[test]
fn a_zombie_counts_as_exited() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    let mut process = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let sleeper = detached(folder.path());
    let record = Record {
        process: Process::find(process.id()).unwrap(),
        pgid: process.id(),
        ..sleeper.clone()
    };
    sleeper.kill().unwrap();
    record.write(&path).unwrap();
    process.kill().unwrap();
    assert!(record.process.wait_for_exit(LONG), "a zombie counts as running");
    process.wait().unwrap();
}

#[test]
fn only_the_owner_can_read_a_record() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let record = detached(folder.path());
    let mode = fs::metadata(folder.path().join("processes/show.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0);
    record.kill().unwrap();
}

#[test]
fn a_child_without_its_record_is_found_by_its_tag() {
    let folder = tempfile::tempdir().unwrap();
    let record = detached(folder.path());
    fs::remove_file(folder.path().join("processes/show.json")).unwrap();
    let found = Process::tagged(folder.path());
    assert_eq!(found, std::slice::from_ref(&record.process));
    assert!(Process::tagged(Path::new("/no/such/folder")).is_empty());
    record.kill().unwrap();
    assert!(Process::tagged(folder.path()).is_empty());
}

#[test]
fn an_invalid_record_is_rejected_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    fs::write(&path, "{\"pid\":1}").unwrap();
    let text = Record::read(&path).unwrap_err().to_string();
    assert!(
        text.contains(&*path.to_string_lossy()) && text.contains("remove it"),
        "{text}"
    );
}

#[test]
fn a_recorded_child_that_fails_at_once_reports_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        let command = helper(&["fail", "6", "unknown key"]).record(folder.path().join("record.json"));
        let failure = command.spawn().unwrap().wait(&Cancel::never()).unwrap_err();
        assert_eq!(failure.exit_code(), Some(6), "{failure}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn orphans_are_the_children_of_a_killed_process_and_not_of_a_live_one() {
    use std::io::{BufRead, BufReader};

    let start = || {
        let mut parent = std::process::Command::new(env!("CARGO_BIN_EXE_subprocess-helper"))
            .arg("parent")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        (parent, crate::common::processes(&line))
    };
    let (mut live, alive) = start();
    let (mut killed, left) = start();
    let owner = Process::find(killed.id()).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();

    let orphans = Orphan::all();
    for process in &left {
        let orphan = orphans
            .iter()
            .find(|orphan| orphan.process == *process)
            .expect("the orphan is found");
        assert_eq!(orphan.owner, owner);
        assert!(orphan.command.contains("subprocess-helper"), "{}", orphan.command);
        orphan.process.kill_group();
        assert!(process.wait_for_exit(LONG));
    }
    assert!(orphans.iter().all(|orphan| !alive.contains(&orphan.process)));
    live.kill().unwrap();
    live.wait().unwrap();
    alive.iter().for_each(Process::kill_group);
}
