//! Commands: output, failures, deadlines, cancellation.

use std::fs;
use std::process;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{LONG, helper, observed, processes};
use subprocess::{Cancel, Command, Outcome, Signal};

#[test]
fn the_log_is_complete_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    // Without an observer the child writes to its log itself.
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
fn a_failure_has_name_exit_code_command_last_lines_and_log() {
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
fn exit_code_137_is_explained() {
    let failure = helper(&["fail", "137", "working"])
        .run(&Cancel::never())
        .unwrap_err();
    assert!(
        failure
            .to_string()
            .contains("killed (137): usually out of memory"),
        "{failure}"
    );
}

#[test]
fn a_long_line_is_observed_whole_and_kept_in_part() {
    let word = "x".repeat(100_000);
    let mut command = process::Command::new("echo");
    command.arg(&word);
    let (command, lines) = observed(Command::new(command));
    let output = command.run(&Cancel::never()).unwrap();
    assert_eq!(lines.recv_timeout(LONG).unwrap(), word);
    assert_eq!(output.last_lines[0].len(), 4096);
}

#[test]
fn signals_of_other_processes_are_explained() {
    for (signal, text) in [
        (Signal::KILL, "killed (137)"),
        (Signal::ABORT, "SIGABRT: aborted"),
    ] {
        let (command, lines) = observed(helper(&["family"]));
        let child = command.spawn().unwrap();
        let family = processes(&lines.recv_timeout(LONG).unwrap());
        let leader = rustix::process::Pid::from_raw(child.pid().cast_signed()).unwrap();
        rustix::process::kill_process(leader, signal).unwrap();
        let failure = child.wait(&Cancel::never()).unwrap_err();
        assert!(failure.to_string().contains(text), "{failure}");
        // The rest of the group is killed, too.
        assert!(family[1].wait_for_exit(LONG));
    }
}

#[test]
fn a_command_that_cannot_start_reports_the_reason_and_the_fix() {
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
fn captured_stdout_is_separate_from_the_last_lines() {
    let output = helper(&["lines", "4"]).capture(&Cancel::never()).unwrap();
    assert_eq!(output.text(), "line 1\nline 3");
    assert_eq!(output.last_lines, ["line 2", "line 4"]);
}

#[test]
fn input_is_passed_whole_and_may_stay_unread() {
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
fn stdin_is_empty_by_default() {
    assert_eq!(helper(&["count"]).capture(&Cancel::never()).unwrap().text(), "0");
}

#[test]
fn the_deadline_ends_the_whole_group() {
    let (command, lines) = observed(
        helper(&["family"])
            .name("serve")
            // Long enough for the helper to print its line on a loaded machine.
            .deadline(Duration::from_secs(3)),
    );
    let child = command.spawn().unwrap();
    let family = processes(&lines.recv_timeout(LONG).unwrap());
    let failure = child.wait(&Cancel::never()).unwrap_err();
    assert_eq!(*failure.outcome(), Outcome::Deadline(Duration::from_secs(3)));
    assert!(
        failure
            .to_string()
            .starts_with("serve: exceeded its deadline of 3 s"),
        "{failure}"
    );
    assert!(family.iter().all(|member| member.wait_for_exit(LONG)));
}

#[test]
fn cancellation_ends_the_whole_group() {
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
fn nothing_starts_after_a_cancellation() {
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
fn a_callback_is_called_once_and_not_after_its_guard_was_dropped() {
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
fn a_child_that_ignores_the_stop_signal_is_killed_after_its_grace_period() {
    // Ignored by default.
    let command = helper(&["family"]).stop_signal(Signal::WINCH);
    let (command, lines) = observed(command);
    let child = command.spawn().unwrap();
    let family = processes(&lines.recv_timeout(LONG).unwrap());
    let begin = Instant::now();
    child.terminate(Duration::from_millis(200));
    assert!(
        begin.elapsed() >= Duration::from_millis(200),
        "killed before its grace period was over"
    );
    assert!(family.iter().all(|member| member.wait_for_exit(LONG)));
}

#[test]
fn dropping_a_child_ends_the_whole_group() {
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
fn a_background_process_of_a_successful_command_stays_and_does_not_delay_it() {
    let output = helper(&["leave"]).capture(&Cancel::never()).unwrap();
    let left = processes(&output.text());
    assert!(left[0].is_alive());
    let pid = rustix::process::Pid::from_raw(left[0].pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn the_failure_of_a_server_that_exits_early_has_its_exit_code_and_last_lines() {
    let mut child = helper(&["fail", "1", "address in use"])
        .name("redis")
        .spawn()
        .unwrap();
    assert!(child.ends_within(LONG));
    let failure = child.failure(Outcome::Deadline(LONG));
    assert_eq!(*failure.outcome(), Outcome::Exit(1));
    assert_eq!(failure.last_lines(), ["address in use"]);
}

#[test]
fn the_failure_of_a_server_that_is_not_ready_in_time_has_its_last_lines() {
    let (command, lines) = observed(helper(&["family"]));
    let mut child = command.spawn().unwrap();
    let line = lines.recv_timeout(LONG).unwrap();
    assert!(!child.ends_within(Duration::from_millis(1)));
    let limit = Duration::from_secs(7);
    let failure = child.failure(Outcome::Deadline(limit));
    assert_eq!(*failure.outcome(), Outcome::Deadline(limit));
    assert_eq!(failure.last_lines(), [line]);
}

#[cfg(target_os = "linux")]
#[test]
fn waiting_uses_no_cpu() {
    let output = helper(&["wait-idle"]).capture(&Cancel::never()).unwrap();
    let woken: u32 = output.text().parse().unwrap();
    assert!(woken < 20, "woken {woken} times while it waited for a second");
}

/// `cargo test` sets the variables, as `cargo run` does.
#[test]
fn cargo_does_not_inherit_package_variables() {
    let folder = tempfile::tempdir().unwrap();
    let environment = |name: &str| {
        let program = folder.path().join(name);
        std::os::unix::fs::symlink("/usr/bin/env", &program).unwrap();
        let output = Command::new(std::process::Command::new(program)).capture(&Cancel::never());
        output.unwrap().text()
    };
    let has_variable = |text: &str| text.lines().any(|line| line.starts_with("CARGO_MANIFEST_DIR="));
    assert!(has_variable(&environment("other")));
    assert!(!has_variable(&environment("cargo")));
}
