//! Steps that run commands.

use std::time::Duration;

use subprocess::{Ended, Pipeline};

use super::{Did, Place, World, wait_until};
use crate::command::{Command, Test};

/// A test is a look at what is there: one that takes longer hangs.
const LONGEST_TEST: Duration = Duration::from_secs(30);

impl World<'_> {
    /// The command with its tags, log and deadline.
    pub(super) fn prepared(&self, place: &Place<'_>, command: &Command, seconds: u64) -> subprocess::Command {
        let filled = command.filled(|text| self.fill(text));
        subprocess::Command::new(filled)
            .name(place.context.name())
            .log(self.folder.log(place.context.name()))
            .deadline(Duration::from_secs(seconds))
    }

    pub(super) fn run(
        &self,
        place: &Place<'_>,
        command: &Command,
        unless: Option<&Test>,
        seconds: u64,
    ) -> anyhow::Result<Did> {
        if let Some(why) = self.nothing_to_do(place, unless)? {
            return Ok(Did::Nothing(why));
        }
        self.prepared(place, command, seconds).run(place.cancel)?;
        Ok(Did::Something)
    }

    /// Where another run makes the same at the same moment, one of both is told that it is there already.
    pub(super) fn create(&self, place: &Place<'_>, there: &Test, command: &Command) -> anyhow::Result<Did> {
        match self.run(place, command, Some(there), 60) {
            Err(error) => match self.nothing_to_do(place, Some(there))? {
                Some(why) => Ok(Did::Nothing(why)),
                None => Err(error),
            },
            done => done,
        }
    }

    pub(super) fn pipe(
        &self,
        place: &Place<'_>,
        from: &Command,
        into: &Command,
        unless: Option<&Test>,
        seconds: u64,
    ) -> anyhow::Result<Did> {
        if let Some(why) = self.nothing_to_do(place, unless)? {
            return Ok(Did::Nothing(why));
        }
        let (from, into) = (
            self.prepared(place, from, seconds),
            self.prepared(place, into, seconds),
        );
        Pipeline::new(from, into).run(place.cancel)?;
        Ok(Did::Something)
    }

    pub(super) fn until(
        &self,
        place: &Place<'_>,
        test: &Test,
        what: &str,
        seconds: u64,
    ) -> anyhow::Result<Did> {
        let interval = Duration::from_millis(200);
        wait_until(
            place.context,
            what,
            Duration::from_secs(seconds),
            interval,
            || self.test(place, test),
        )?;
        Ok(Did::Something)
    }

    fn nothing_to_do(&self, place: &Place<'_>, unless: Option<&Test>) -> anyhow::Result<Option<String>> {
        let Some(test) = unless else { return Ok(None) };
        let there = self.test(place, test)?.is_ok();
        Ok(there.then(|| "there already".to_owned()))
    }

    /// `Ok(Err(state))` when the test fails; an error only when it could not be tried.
    fn test(&self, place: &Place<'_>, test: &Test) -> anyhow::Result<Result<(), String>> {
        // Not in the task's log: a look that fails is no failure, and a poll would fill it.
        let command = test.command.filled(|text| self.fill(text));
        let output = subprocess::Command::new(command)
            .deadline(LONGEST_TEST)
            .capture(place.cancel);
        match (output, &test.expect) {
            (Ok(_), None) => Ok(Ok(())),
            (Ok(output), Some(expected)) => {
                let expected = self.fill(expected);
                let printed = output.text();
                Ok(if printed.contains(&expected) {
                    Ok(())
                } else {
                    Err(format!("it prints {printed:?}"))
                })
            }
            (Err(failure), _) if matches!(failure.ended(), Ended::Exit(_) | Ended::Deadline(_)) => {
                let last = failure.last_lines().last().cloned();
                Ok(Err(last.unwrap_or_else(|| failure.ended().to_string())))
            }
            (Err(failure), _) => Err(failure.into()),
        }
    }
}
