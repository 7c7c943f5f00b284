//! Pipelines of two commands.

use std::io;

use crate::cancel::Cancel;
use crate::child::Child;
use crate::command::{Command, Stdout};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// Two commands: the stdout of the first is the stdin of the second.
#[derive(Debug)]
pub struct Pipeline {
    from: Command,
    into: Command,
}

impl Pipeline {
    /// Returns the pipeline `from | into`. Each command keeps its own name, log, observer and deadline.
    #[must_use]
    pub fn new(from: Command, into: Command) -> Self {
        Self { from, into }
    }

    /// Returns the pipeline as a shell command line.
    #[must_use]
    pub fn command_line(&self) -> String {
        format!("{} | {}", self.from.command_line(), self.into.command_line())
    }

    /// Runs both commands until they exit. Success is exit code 0 of both; the output is that of the second.
    ///
    /// # Errors
    /// [`Failure`] of the side that is the cause; [`Failure::other_side`] has that of the other side, unless the first failed
    /// only because the second had exited.
    pub fn run(self, cancel: &Cancel) -> Result<Output, Failure> {
        let Self { from, mut into } = self;
        let from = from.checked(cancel)?;
        let (reader, writer) = io::pipe().map_err(|error| {
            Failure::new(
                from.own_name(),
                from.command_line(),
                Outcome::NotStarted(format!("cannot create a pipe: {error}")),
            )
        })?;
        into.stdin = Some(reader.into());
        let into = into.start(Stdout::Lines)?;
        let from = from.start(Stdout::Next(writer.into()))?;
        join(from, into, cancel)
    }
}

fn join(mut from: Child, mut into: Child, cancel: &Cancel) -> Result<Output, Failure> {
    // Each side has its own deadline.
    std::thread::scope(|scope| {
        scope.spawn(|| from.wait_mut(cancel));
        into.wait_mut(cancel);
    });
    match (from.result(), into.result()) {
        (Ok(_), into) => into,
        (Err(from), Ok(_)) => Err(from),
        (Err(from), Err(into)) if was_cut_short(&from) => Err(into),
        (Err(from), Err(into)) if matches!(into.outcome(), Outcome::Deadline(_)) => {
            Err(into.with_other_side(from))
        }
        (Err(from), Err(into)) => Err(from.with_other_side(into)),
    }
}

/// Whether the first command failed only because the second stopped reading. Which of them exited first proves nothing:
/// the second closes its side before it exits.
fn was_cut_short(from: &Failure) -> bool {
    match from.outcome() {
        Outcome::Signal(13) | Outcome::Exit(141) => true,
        // Programs that ignore SIGPIPE get EPIPE and print the message of the C library.
        Outcome::Exit(_) => from
            .last_lines()
            .iter()
            .any(|line| line.to_ascii_lowercase().contains("broken pipe")),
        _ => false,
    }
}
