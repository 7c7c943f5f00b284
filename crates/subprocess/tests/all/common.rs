//! Helpers of the tests.

use std::process;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use subprocess::{Command, Process};

/// Deadline of all waits: far longer than any of them takes on a loaded machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Returns the helper program with these arguments.
pub(crate) fn helper(arguments: &[&str]) -> Command {
    let mut command = process::Command::new(env!("CARGO_BIN_EXE_subprocess-helper"));
    command.args(arguments);
    Command::new(command).deadline(LONG)
}

/// Returns the command, and a receiver of its lines.
pub(crate) fn observed(command: Command) -> (Command, Receiver<String>) {
    let (sender, receiver) = channel();
    let command = command.observe(move |line| {
        let _receiver_is_gone = sender.send(line.to_owned());
    });
    (command, receiver)
}

/// Returns the processes named in a line such as "family 12 13".
pub(crate) fn processes(line: &str) -> Vec<Process> {
    line.split_whitespace()
        .skip(1)
        .map(|pid| Process::find(pid.parse().expect("a process id")).expect("the process runs"))
        .collect()
}
