//! Commands run to their ends: what is kept, what is shown, what is ended.

use std::fs;
use std::process;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{LONG, helper, observed, processes};
use subprocess::{Cancel, Command, Ended, Signal};

#[test]
fn the_log_is_complete_and_in_order_and_a_failure_shows_its_end() {
    let folder = tempfile::tempdir().unwrap();
    // A child writes to its log by itself, or through us where somebody watches.
    for watched in [false, true] {
        let log = folder.path().join(format!("logs/{watched}.log"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut command = helper(&["lines", "5000"]).log(&log);
        if watched {
            let seen = Arc::clone(&seen);
            command = command.observe(move |line| seen.lock().unwrap().push(line.to_owned()));
        }
        let output = command.run(&Cancel::never()).unwrap();

        let expected: Vec<String> = (1..=5000).map(|number| format!("line {number}")).collect();
        let text = fs::read_to_string(&log).unwrap();
        let mut lines = text.lines();
        assert!(
            lines.next().unwrap().starts_with("$ "),
            "the log begins with the command"
        );
        assert_eq!(lines.collect::<Vec<_>>(), expected);
        assert_eq!(output.last_lines, expected[4980..]);
        assert_eq!(*seen.lock().unwrap(), if watched { expected } else { vec![] });
    }
}

#[test]
fn a_failure_tells_what_failed_how_and_where_to_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("task.log");
    fs::write(&log, "from an earlier command\n").unwrap();
    let failure = helper(&["fail", "3", "no such table"])
        .name("migrate")
        .log(&log)
        .run(&Cancel::never())
        .unwrap_err();
    assert_eq!(failure.exit_code(), Some(3));
    assert_eq!(
        failure.to_string(),
        format!(
            "migrate: exit code 3\n  command: {} fail 3 'no such table'\n  last lines:\n    no such table\n  whole log: {}",
            env!("CARGO_BIN_EXE_subprocess-helper"),
            log.display()
        )
    );
}

#[test]
fn exit_137_is_translated() {
    let failure = helper(&["fail", "137", "working"])
        .run(&Cancel::never())
        .unwrap_err();
    assert!(
        failure
            .to_string()
            .contains("killed (137): most often this means that memory ran out"),
        "{failure}"
    );
}

#[test]
fn a_long_line_is_shown_whole_and_kept_in_part() {
    let word = "x".repeat(100_000);
    let mut command = process::Command::new("echo");
    command.arg(&word);
    let (command, lines) = observed(Command::new(command));
    let output = command.run(&Cancel::never()).unwrap();
    assert_eq!(lines.recv_timeout(LONG).unwrap(), word);
    assert_eq!(output.last_lines[0].len(), 4096);
}

#[test]
fn a_kill_from_outside_reads_as_137_and_other_signals_by_name() {
    for (signal, text) in [
        (Signal::KILL, "killed (137)"),
        (Signal::ABORT, "SIGABRT: it gave up by itself"),
    ] {
        let (command, lines) = observed(helper(&["family"]));
        let child = command.spawn().unwrap();
        let family = processes(&lines.recv_timeout(LONG).unwrap());
        let leader = rustix::process::Pid::from_raw(child.pid().cast_signed()).unwrap();
        rustix::process::kill_process(leader, signal).unwrap();
        let failure = child.wait(&Cancel::never()).unwrap_err();
        assert!(failure.to_string().contains(text), "{failure}");
        // The one that was left behind goes with the leader.
        assert!(family[1].wait_for_exit(LONG));
    }
}

#[test]
fn what_cannot_be_started_says_what_to_do() {
    let missing = Command::new(process::Command::new("no-such-program-here"));
    let text = missing.run(&Cancel::never()).unwrap_err().to_string();
    assert!(
        text.contains("no-such-program-here is not on PATH; install it"),
        "{text}"
    );

    let mut elsewhere = process::Command::new("env");
    elsewhere.current_dir("/no/such/folder");
    let text = Command::new(elsewhere)
        .run(&Cancel::never())
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("its folder /no/such/folder does not exist"),
        "{text}"
    );
}

#[test]
fn stdout_is_captured_apart_from_what_is_for_people() {
    let output = helper(&["lines", "4"]).capture(&Cancel::never()).unwrap();
    assert_eq!(output.text(), "line 1\nline 3");
    assert_eq!(output.last_lines, ["line 2", "line 4"]);
}

#[test]
fn input_is_fed_whole_and_may_be_left_unread() {
    let output = helper(&["count"])
        .input(vec![b'x'; 1_000_000])
        .capture(&Cancel::never())
        .unwrap();
    assert_eq!(output.text(), "1000000");
    helper(&["lines", "1"])
        .input(vec![b'x'; 1_000_000])
        .run(&Cancel::never())
        .unwrap();
}

#[test]
fn without_input_stdin_is_empty() {
    assert_eq!(helper(&["count"]).capture(&Cancel::never()).unwrap().text(), "0");
}

#[test]
fn past_its_deadline_the_whole_family_is_ended() {
    let (command, lines) = observed(
        helper(&["family"])
            .name("serve")
            .deadline(Duration::from_millis(300)),
    );
    let child = command.spawn().unwrap();
    let family = processes(&lines.recv_timeout(LONG).unwrap());
    let failure = child.wait(&Cancel::never()).unwrap_err();
    assert_eq!(*failure.ended(), Ended::Deadline(Duration::from_millis(300)));
    assert!(
        failure
            .to_string()
            .starts_with("serve: not done after its deadline of 0.3 s"),
        "{failure}"
    );
    assert!(family.iter().all(|member| member.wait_for_exit(LONG)));
}

#[test]
fn cancelling_ends_the_whole_family() {
    let (command, lines) = observed(helper(&["family"]));
    let cancel = Cancel::new();
    let child = command.spawn().unwrap();
    let family = processes(&lines.recv_timeout(LONG).unwrap());
    let waiting = {
        let cancel = cancel.clone();
        thread::spawn(move || child.wait(&cancel))
    };
    cancel.cancel();
    let failure = waiting.join().unwrap().unwrap_err();
    assert!(failure.is_cancelled(), "{failure}");
    assert!(family.iter().all(|member| member.wait_for_exit(LONG)));
}

#[test]
fn once_cancelled_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    let log = folder.path().join("log");
    assert!(
        helper(&["lines", "1"])
            .log(&log)
            .run(&cancel)
            .unwrap_err()
            .is_cancelled()
    );
    assert!(!log.exists());
}

#[test]
fn a_callback_is_called_once_and_not_after_its_guard() {
    let calls = Arc::new(Mutex::new(0));
    let count = || {
        let calls = Arc::clone(&calls);
        move || *calls.lock().unwrap() += 1
    };
    let cancel = Cancel::new();
    drop(cancel.on_cancel(count()));
    let _kept = cancel.on_cancel(count());
    cancel.cancel();
    cancel.cancel();
    assert_eq!(*calls.lock().unwrap(), 1);
    let _late = cancel.on_cancel(count());
    assert_eq!(*calls.lock().unwrap(), 2);
}

#[test]
fn what_ignores_being_asked_is_killed_after_its_grace() {
    // Ignored by whoever does not ask for it.
    let command = helper(&["family"]).stop_signal(Signal::WINCH);
    let (command, lines) = observed(command);
    let child = command.spawn().unwrap();
    let family = processes(&lines.recv_timeout(LONG).unwrap());
    let begin = Instant::now();
    child.terminate(Duration::from_millis(200));
    assert!(
        begin.elapsed() >= Duration::from_millis(200),
        "it was killed before its grace was over"
    );
    assert!(family.iter().all(|member| member.wait_for_exit(LONG)));
}

#[test]
fn dropping_a_child_ends_the_whole_family() {
    let (command, lines) = observed(helper(&["family"]));
    let child = command.spawn().unwrap();
    let family = processes(&lines.recv_timeout(LONG).unwrap());
    drop(child);
    assert!(family.iter().all(|member| member.wait_for_exit(LONG)));
}

#[test]
fn a_killer_may_outlive_its_child() {
    let child = helper(&["lines", "1"]).spawn().unwrap();
    let killer = child.killer();
    child.wait(&Cancel::never()).unwrap();
    killer.kill();
    killer.cancel();
}

#[test]
fn what_a_command_leaves_behind_on_purpose_stays_and_does_not_hold_it_up() {
    let output = helper(&["leave"]).capture(&Cancel::never()).unwrap();
    let left = processes(&output.text());
    assert!(left[0].is_alive());
    let pid = rustix::process::Pid::from_raw(left[0].pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn a_server_that_died_is_seen_at_once_with_its_reason() {
    let mut child = helper(&["fail", "1", "address in use"])
        .name("redis")
        .spawn()
        .unwrap();
    assert!(child.ends_within(LONG));
    let failure = child.failure(Ended::Deadline(LONG));
    assert_eq!(*failure.ended(), Ended::Exit(1));
    assert_eq!(failure.last_lines(), ["address in use"]);
}

#[test]
fn a_server_that_is_not_ready_in_time_shows_its_last_lines() {
    let (command, lines) = observed(helper(&["family"]));
    let mut child = command.spawn().unwrap();
    let line = lines.recv_timeout(LONG).unwrap();
    assert!(!child.ends_within(Duration::from_millis(1)));
    let limit = Duration::from_secs(7);
    let failure = child.failure(Ended::Deadline(limit));
    assert_eq!(*failure.ended(), Ended::Deadline(limit));
    assert_eq!(failure.last_lines(), [line]);
}

#[cfg(target_os = "linux")]
#[test]
fn waiting_uses_no_processor() {
    let output = helper(&["wait-idle"]).capture(&Cancel::never()).unwrap();
    let woken: u32 = output.text().parse().unwrap();
    assert!(woken < 20, "woken {woken} times in a second of waiting");
}

/// Where a program was started by `cargo run`, as tests are by `cargo test`, its cargo would build anew what a shell's
/// cargo has built.
#[test]
fn cargo_is_started_as_from_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let environment = |name: &str| {
        let program = folder.path().join(name);
        std::os::unix::fs::symlink("/usr/bin/env", &program).unwrap();
        let output = Command::new(std::process::Command::new(program)).capture(&Cancel::never());
        output.unwrap().text()
    };
    let is_told = |text: &str| text.lines().any(|line| line.starts_with("CARGO_MANIFEST_DIR="));
    assert!(is_told(&environment("other")));
    assert!(!is_told(&environment("cargo")));
}
