//! The end of a run: what tells why it failed is saved, then everything is removed, or said to stay.

use std::{fs, time::Duration};

use taskgraph::Outcome;

use super::{Did, Place, World};
use crate::{
    command::{Command, Test},
    removal::stop_processes,
};

/// What becomes of the stack at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Removed, however the run ended.
    Remove,
    /// Kept when a task failed, for somebody to look at.
    KeepOnFailure,
    /// Kept.
    Keep,
}

impl World<'_> {
    /// Saves the commands' outputs into the run's folder. Best effort: it never replaces the first error.
    pub(super) fn collect(
        &self,
        place: &Place<'_>,
        commands: &[(String, Command)],
        seconds: u64,
    ) -> anyhow::Result<Did> {
        if !failed(place) {
            return Ok(Did::Nothing("nothing failed".to_owned()));
        }
        let begun = |(name, outcome): &(String, Outcome)| {
            name == "cluster" && !matches!(outcome, Outcome::NotStarted { .. })
        };
        if !place.context.outcomes().iter().any(begun) {
            return Ok(Did::Nothing("there was no cluster yet".to_owned()));
        }
        let folder = self.folder.path().join("cluster");
        fs::create_dir_all(&folder)?;
        let deadline = std::time::Instant::now() + Duration::from_secs(seconds);
        let has_api = self.settings.kubeconfig().exists();
        // A node that never came up has its own log to tell of it, and no API.
        for (file, command) in commands
            .iter()
            .filter(|(_, command)| has_api || command.program != "kubectl")
        {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                place
                    .context
                    .note("collecting took too long; not everything was saved");
                break;
            }
            let filled = command.filled(|text| self.fill(text));
            let file = folder.join(file);
            // Another round on a kept run begins it anew.
            let _absent = fs::remove_file(&file);
            // Both streams: a container's log comes on the two that it was written to.
            let saved = subprocess::Command::new(filled)
                .deadline(left.min(Duration::from_secs(20)))
                .log(&file)
                .run(place.cancel);
            if let Err(failure) = saved {
                let text = fs::read_to_string(&file).unwrap_or_default();
                fs::write(&file, format!("{text}\n{}\n", failure.ended()))?;
            }
        }
        place.context.note(format!("saved to {}", folder.display()));
        Ok(Did::Something)
    }

    pub(super) fn teardown(
        &self,
        place: &Place<'_>,
        commands: &[Command],
        unless: Option<&(Test, Command)>,
    ) -> anyhow::Result<Did> {
        if self.keeps(place) {
            return Ok(Did::Nothing("kept".to_owned()));
        }
        let mut failures = Vec::new();
        if let Err(error) = stop_processes(self.folder) {
            failures.push(format!("{error:#}"));
        }
        // Where the run never came as far as to enter somebody's cluster there is nothing of it in there.
        let entered = self.settings.remote.is_none() || self.settings.kubeconfig().exists();
        for command in commands
            .iter()
            .filter(|command| entered || command.program != "kubectl")
        {
            // Each is tried: what one of them leaves must not keep the others.
            if let Err(failure) = self.prepared(place, command, 120).run(place.cancel) {
                failures.push(failure.to_string());
            }
        }
        if let Some((test, command)) = unless.filter(|_| entered)
            && let Err(error) = self.run(place, command, Some(test), 120)
        {
            failures.push(format!("{error:#}"));
        }
        if failures.is_empty() {
            return Ok(Did::Something);
        }
        anyhow::bail!(
            "not everything could be removed; `cargo xtask gc` tries again:\n{}",
            failures.join("\n")
        )
    }

    fn keeps(&self, place: &Place<'_>) -> bool {
        let begun = |outcome: &Outcome| !matches!(outcome, Outcome::NotStarted { .. });
        let cluster = place
            .context
            .outcomes()
            .iter()
            .find(|(name, _)| name == "cluster");
        // Before there is a cluster there is nothing to look at.
        if !cluster.is_some_and(|(_, outcome)| begun(outcome)) {
            return false;
        }
        match self.finish {
            Policy::Remove => false,
            Policy::Keep => true,
            // What somebody interrupted is not looked at.
            Policy::KeepOnFailure => failed(place),
        }
    }
}

fn failed(place: &Place<'_>) -> bool {
    place
        .context
        .outcomes()
        .iter()
        .any(|(_, outcome)| outcome.is_failure())
}
