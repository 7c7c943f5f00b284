//! Two commands, the first's stdout streamed into the second's stdin.

use std::io;

use crate::cancel::Cancel;
use crate::child::Child;
use crate::command::{Command, Output, Stdout};
use crate::failure::{Ended, Failure};

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
    pub fn shown(&self) -> String {
        format!("{} | {}", self.from.shown(), self.into.shown())
    }

    /// Runs both to their ends. Success is exit code 0 of both; the output is the second's.
    ///
    /// # Errors
    /// The [`Failure`] of the side that failed first; the other side's, if it has one of its own, is in
    /// [`Failure::also`]. A first command that was only cut short because the second ended is not one.
    pub fn run(self, cancel: &Cancel) -> Result<Output, Failure> {
        let Self { from, mut into } = self;
        let from = from.checked(cancel)?;
        let (reader, writer) = io::pipe().map_err(|error| {
            Failure::new(
                from.own_name(),
                from.shown(),
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
    let into_was_first = into.ended_at() < from.ended_at();
    match (from.outcome(), into.outcome()) {
        (Ok(_), into) => into,
        (Err(from), Ok(_)) => Err(from),
        // The first could not go on writing because the second had ended: that tells nothing.
        (Err(from), Err(into)) if matches!(from.ended(), Ended::Signal(13) | Ended::Exit(141)) => Err(into),
        (Err(from), Err(into)) if into_was_first => Err(into.with_also(from)),
        (Err(from), Err(into)) => Err(from.with_also(into)),
    }
}
