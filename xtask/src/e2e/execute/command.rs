//! Steps that run commands.

use std::time::Duration;

use subprocess::{Outcome, Pipeline};

use super::{RunContext, StepContext, StepOutcome};
use crate::command::{Command, Test};

/// Maximum duration of a test, which only reads a state.
const TEST: Duration = Duration::from_secs(30);

impl RunContext<'_> {
    /// Returns the command with its tags filled in, its log and its deadline.
    pub(super) fn prepared(&self, step: &StepContext<'_>, command: &Command) -> subprocess::Command {
        subprocess::Command::new(command.filled(|text| self.fill(text)))
            .name(step.task.name())
            .log(self.folder.log(step.task.name()))
            .deadline(step.timeout)
    }

    pub(super) fn run(&self, step: &StepContext<'_>, command: &Command) -> anyhow::Result<StepOutcome> {
        self.prepared(step, command).run(step.cancel)?;
        Ok(StepOutcome::Done)
    }

    pub(super) fn pipe(
        &self,
        step: &StepContext<'_>,
        from: &Command,
        into: &Command,
    ) -> anyhow::Result<StepOutcome> {
        let [from, into] = [from, into].map(|command| self.prepared(step, command));
        Pipeline::new(from, into).run(step.cancel)?;
        Ok(StepOutcome::Done)
    }

    /// Returns the reason to skip a step, if its test passes.
    pub(super) fn skip_reason(
        &self,
        step: &StepContext<'_>,
        unless: Option<&Test>,
    ) -> anyhow::Result<Option<String>> {
        let Some(test) = unless else { return Ok(None) };
        let passes = self.test(step, test)?.is_ok();
        Ok(passes.then(|| "already done".to_owned()))
    }

    /// Runs a test: `Ok(Err(state))` if it fails; an error only if it could not run.
    pub(super) fn test(&self, step: &StepContext<'_>, test: &Test) -> anyhow::Result<Result<(), String>> {
        // Without the task's log: a failing test is no failure, and polls would fill the log.
        let output = subprocess::Command::new(test.command.filled(|text| self.fill(text)))
            .deadline(TEST)
            .capture(step.cancel);
        match (output, &test.expect) {
            (Ok(_), None) => Ok(Ok(())),
            (Ok(output), Some(expected)) => {
                let printed = output.text();
                Ok(if printed.contains(&self.fill(expected)) {
                    Ok(())
                } else {
                    Err(format!("it prints {printed:?}"))
                })
            }
            (Err(failure), _) if matches!(failure.outcome(), Outcome::Exit(_) | Outcome::Deadline(_)) => {
                let last = failure.last_lines().last().cloned();
                Ok(Err(last.unwrap_or_else(|| failure.outcome().to_string())))
            }
            (Err(failure), _) => Err(failure.into()),
        }
    }
}
