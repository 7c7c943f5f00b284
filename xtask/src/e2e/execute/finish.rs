//! The end of a run: after a failure diagnostics are saved; then everything is removed, or reported as kept.

use std::{
    fs,
    time::{Duration, Instant},
};

use taskgraph::Outcome;

use super::{RunContext, StepContext, StepOutcome};
use crate::{
    command::Command,
    e2e::plan::{Action, Step},
    removal::stop_processes,
};

/// Maximum duration of one command that collects.
const COLLECT: Duration = Duration::from_secs(20);

/// Whether the stack is kept at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Remove it, however the run ended.
    Remove,
    /// Keep it for inspection if a task failed.
    KeepOnFailure,
    /// Keep it.
    Keep,
    /// Keep what was there before the run, also if the run fails before it uses it.
    KeepReused,
}

impl RunContext<'_> {
    /// Saves the commands' outputs into the run's folder. Best effort: it never replaces the first error.
    pub(super) fn collect(
        &self,
        step: &StepContext<'_>,
        commands: &[(String, Command)],
    ) -> anyhow::Result<StepOutcome> {
        if !step.has_failure() {
            return Ok(StepOutcome::Skipped("nothing failed".to_owned()));
        }
        if !step.has_begun("cluster") {
            return Ok(StepOutcome::Skipped("the cluster was not created".to_owned()));
        }
        let folder = self.folder.path().join("cluster");
        fs::create_dir_all(&folder)?;
        let deadline = Instant::now() + step.timeout;
        for (file, command) in commands.iter().filter(|(_, command)| self.can_run(command)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                step.task.note(format!(
                    "incomplete: collecting exceeded {} s",
                    step.timeout.as_secs()
                ));
                break;
            }
            let filled = command.filled(|text| self.fill(text));
            let file = folder.join(file);
            // An earlier round of a kept run may have left one.
            let _absent = fs::remove_file(&file);
            // Both streams: a container's log is printed to the streams that it was written to.
            let saved = subprocess::Command::new(filled)
                .deadline(left.min(COLLECT))
                .log(&file)
                .run(step.cancel);
            if let Err(failure) = saved {
                let text = fs::read_to_string(&file).unwrap_or_default();
                fs::write(&file, format!("{text}\n{}\n", failure.outcome()))?;
            }
        }
        step.task.note(format!("saved to {}", folder.display()));
        Ok(StepOutcome::Done)
    }

    pub(super) fn teardown(&self, step: &StepContext<'_>, steps: &[Step]) -> anyhow::Result<StepOutcome> {
        if self.keeps(step) {
            return Ok(StepOutcome::Skipped("kept".to_owned()));
        }
        let mut failures: Vec<String> = stop_processes(self.folder)
            .err()
            .map(|error| format!("{error:#}"))
            .into_iter()
            .collect();
        let is_possible = |removal: &&Step| match &removal.action {
            Action::Run { command, .. } => self.can_run(command),
            _ => true,
        };
        // All of them, so that one failure does not leave the rest.
        for removal in steps.iter().filter(is_possible) {
            failures.extend(
                self.step(step.task, step.cancel, removal)
                    .err()
                    .map(|error| format!("{error:#}")),
            );
        }
        if failures.is_empty() {
            return Ok(StepOutcome::Done);
        }
        anyhow::bail!(
            "teardown is incomplete; `{} gc` tries again:\n{}",
            crate::called_as(),
            failures.join("\n")
        )
    }

    /// Whether a command has what it needs: `kubectl` does nothing for a run that has no kubeconfig yet.
    fn can_run(&self, command: &Command) -> bool {
        command.program != "kubectl" || self.settings.kubeconfig().exists()
    }

    fn keeps(&self, step: &StepContext<'_>) -> bool {
        // Before the cluster exists there is nothing to inspect.
        let exists = step.has_begun("cluster");
        match self.policy {
            Policy::Remove => false,
            Policy::Keep => exists,
            Policy::KeepReused => true,
            Policy::KeepOnFailure => exists && step.has_failure(),
        }
    }
}

impl StepContext<'_> {
    fn has_begun(&self, task: &str) -> bool {
        let outcomes = self.task.outcomes();
        let outcome = outcomes.iter().find(|(name, _)| name == task);
        outcome.is_some_and(|(_, outcome)| !matches!(outcome, Outcome::NotStarted { .. }))
    }

    /// Whether a task failed; an interrupted run has no failures.
    fn has_failure(&self) -> bool {
        let outcomes = self.task.outcomes();
        outcomes.iter().any(|(_, outcome)| outcome.is_failure())
    }
}
