//! The control command: stops, starts, restarts and kills parts of the deployment, and shows their logs. The same
//! verbs work wherever the deployment is, so that no scenario knows how.

use std::collections::BTreeSet;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use subprocess::{Cancel, Command};

use super::part::Part;

/// A verb returns when its work is done, for instance when a pod is gone; on a slow machine that takes its time.
const DEADLINE: Duration = Duration::from_secs(120);

/// One scenario's hold on the control command.
#[derive(Clone)]
pub(crate) struct Control {
    argv: Arc<[String]>,
    /// Parts that were made to stop and not started since.
    stopped: Arc<Mutex<BTreeSet<Part>>>,
    /// One verb after the other: when a scenario is given up in the middle of one, that verb still ends before
    /// anything is put right.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Control {
    pub(crate) fn new(argv: &[String]) -> Self {
        Self {
            argv: argv.into(),
            stopped: Arc::default(),
            turn: Arc::default(),
        }
    }

    /// Stops the part in order; returns when it is gone.
    pub(crate) async fn stop(&self, part: Part) -> Result<()> {
        self.note(part, true);
        self.call("stop", part).await.map(drop)
    }

    /// Ends the part with SIGKILL. Whether it comes back by itself depends on where it runs; [`Self::start`] makes
    /// sure.
    pub(crate) async fn kill(&self, part: Part) -> Result<()> {
        self.note(part, true);
        self.call("kill", part).await.map(drop)
    }

    /// Starts the part; returns when it has started.
    pub(crate) async fn start(&self, part: Part) -> Result<()> {
        self.call("start", part).await?;
        self.note(part, false);
        Ok(())
    }

    /// Replaces the part in order; returns when the new one has started.
    pub(crate) async fn restart(&self, part: Part) -> Result<()> {
        self.note(part, true);
        self.call("restart", part).await?;
        self.note(part, false);
        Ok(())
    }

    /// What the part has logged.
    pub(crate) async fn logs(&self, part: Part) -> Result<String> {
        self.call("logs", part).await
    }

    /// Starts again what is still stopped.
    pub(crate) async fn restore(&self) -> Result<()> {
        let _ended = self.turn.lock().await;
        drop(_ended);
        let stopped = self
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for part in stopped {
            self.start(part)
                .await
                .with_context(|| format!("{part} could not be started again"))?;
        }
        Ok(())
    }

    fn note(&self, part: Part, stopped: bool) {
        let mut parts = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if stopped {
            parts.insert(part)
        } else {
            parts.remove(&part)
        };
    }

    async fn call(&self, verb: &'static str, part: Part) -> Result<String> {
        ensure!(!self.argv.is_empty(), "the stack file has no control command");
        let (argv, turn) = (self.argv.clone(), self.turn.clone());
        // A task of its own: it goes on to its end when the scenario that asked for it is given up.
        tokio::spawn(async move {
            let _turn = turn.lock().await;
            tokio::task::spawn_blocking(move || {
                let mut command = process::Command::new(&argv[0]);
                command.args(&argv[1..]).arg(verb).arg(part.name());
                let output = Command::new(command)
                    .name(format!("{verb} {part}"))
                    .deadline(DEADLINE)
                    .capture(&Cancel::never())
                    .map_err(|failure| anyhow!("{failure}"))?;
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            })
            .await?
        })
        .await?
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    /// A control command that writes down its verbs, and fails at `broken`.
    pub(crate) fn recording(folder: &Path, broken: &str) -> Control {
        let script = folder.join("control");
        let text = format!("#!/bin/sh\necho \"$2 $3\" >> \"$1\"\ntest \"$2 $3\" != \"{broken}\"\n");
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Control::new(&[
            script.display().to_string(),
            folder.join("calls").display().to_string(),
        ])
    }

    fn calls(folder: &Path) -> Vec<String> {
        fs::read_to_string(folder.join("calls"))
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[tokio::test]
    async fn what_was_stopped_or_killed_is_started_again_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let control = recording(folder.path(), "none");
        control.stop(Part::PostgreSql).await.unwrap();
        control.kill(Part::Redis).await.unwrap();
        control.start(Part::Redis).await.unwrap();
        control.restart(Part::Gateway).await.unwrap();
        control.restore().await.unwrap();
        control.restore().await.unwrap();
        assert_eq!(
            calls(folder.path()),
            [
                "stop postgresql",
                "kill redis",
                "start redis",
                "restart gateway",
                "start postgresql"
            ]
        );
    }

    #[tokio::test]
    async fn a_failed_verb_is_an_error_and_the_part_counts_as_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let control = recording(folder.path(), "restart gateway");
        let error = control.restart(Part::Gateway).await.unwrap_err().to_string();
        assert!(error.contains("restart gateway"), "{error}");
        control.restore().await.unwrap();
        assert_eq!(calls(folder.path()), ["restart gateway", "start gateway"]);
    }

    #[tokio::test]
    async fn a_verb_given_up_in_the_middle_ends_before_anything_is_restored() {
        let folder = tempfile::tempdir().unwrap();
        let control = recording(folder.path(), "none");
        let turn = control.turn.clone().lock_owned().await;
        // The verb has been asked for and waits for its turn when its caller goes away.
        let stop = control.stop(Part::PostgreSql);
        assert!(futures::poll!(Box::pin(stop)).is_pending());
        drop(turn);
        control.restore().await.unwrap();
        let calls = calls(folder.path());
        assert_eq!(
            calls.last().map(String::as_str),
            Some("start postgresql"),
            "{calls:?}"
        );
    }
}
