//! Two commands, the first's stdout streamed into the second's stdin.

use std::io;

use crate::cancel::Cancel;
use crate::child::Child;
use crate::command::{Command, Stdout};
use crate::failure::{Ended, Failure};
use crate::output::Output;

/// Two commands, the first's stdout streamed into the second's stdin, without a file between them.
#[derive(Debug)]
pub struct Pipeline {
    from: Command,
    into: Command,
}

impl Pipeline {
    /// `from | into`. Each keeps its own name, log, observer and deadline.
    #[must_use]
    pub fn new(from: Command, into: Command) -> Self {
        Self { from, into }
    }

    /// The pipeline as a shell would take it.
    #[must_use]
    pub fn command_line(&self) -> String {
        format!("{} | {}", self.from.command_line(), self.into.command_line())
    }

    /// Runs both to their ends. Success is exit code 0 of both; the output is the second's.
    ///
    /// # Errors
    /// The [`Failure`] of the side that was the cause; the other side's is in [`Failure::also`], unless the first
    /// was only cut short because the second ended.
    pub fn run(self, cancel: &Cancel) -> Result<Output, Failure> {
        let Self { from, mut into } = self;
        let from = from.checked(cancel)?;
        let (reader, writer) = io::pipe().map_err(|error| {
            Failure::new(
                from.own_name(),
                from.command_line(),
                Ended::NotStarted(format!("no pipe: {error}")),
            )
        })?;
        into.stdin = Some(reader.into());
        let into = into.start(Stdout::Lines)?;
        let from = from.start(Stdout::Next(writer.into()))?;
        join(from, into, cancel)
    }
}

fn join(mut from: Child, mut into: Child, cancel: &Cancel) -> Result<Output, Failure> {
    // Each side has a deadline of its own, so each is waited for on its own.
    std::thread::scope(|scope| {
        scope.spawn(|| from.wait_mut(cancel));
        into.wait_mut(cancel);
    });
    match (from.outcome(), into.outcome()) {
        (Ok(_), into) => into,
        (Err(from), Ok(_)) => Err(from),
        (Err(from), Err(into)) if was_cut_short(&from) => Err(into),
        (Err(from), Err(into)) if matches!(into.ended(), Ended::Deadline(_)) => Err(into.with_also(from)),
        (Err(from), Err(into)) => Err(from.with_also(into)),
    }
}

/// Whether the first of a pipeline failed only because the second no longer read: that tells nothing. Which of
/// them ended first does not tell either, as the second closes its side before it has ended.
fn was_cut_short(from: &Failure) -> bool {
    match from.ended() {
        Ended::Signal(13) | Ended::Exit(141) => true,
        // Programs that ignore SIGPIPE see EPIPE and say so in the C library's words.
        Ended::Exit(_) => from
            .last_lines()
            .iter()
            .any(|line| line.to_ascii_lowercase().contains("broken pipe")),
        _ => false,
    }
}
