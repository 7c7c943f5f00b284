//! What the tests share.

use std::process;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use subprocess::{Command, Process};

/// Far more than anything here takes, for a machine that is busy with other things.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The helper program with these arguments.
pub(crate) fn helper(arguments: &[&str]) -> Command {
    let mut command = process::Command::new(env!("CARGO_BIN_EXE_subprocess-helper"));
    command.args(arguments);
    Command::new(command).deadline(LONG)
}

/// The command with its lines coming out of the receiver.
pub(crate) fn observed(command: Command) -> (Command, Receiver<String>) {
    let (sender, receiver) = channel();
    let command = command.observe(move |line| {
        let _nobody_listens = sender.send(line.to_owned());
    });
    (command, receiver)
}

/// The processes named in a line such as "family 12 13".
pub(crate) fn processes(line: &str) -> Vec<Process> {
    line.split_whitespace()
        .skip(1)
        .map(|pid| Process::find(pid.parse().expect("a number")).expect("it runs"))
        .collect()
}
