//! The control command: stops, starts, restarts and kills components of the deployment, and shows their logs.
//! The verbs are the same for every provider, so that scenarios do not depend on it.

use std::collections::BTreeSet;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use subprocess::{Cancel, Command};

use super::part::Part;

/// A verb returns when its effect is complete, for instance when a pod has terminated; a slow machine needs minutes.
const DEADLINE: Duration = Duration::from_secs(120);

/// One scenario's access to the control command.
#[derive(Clone)]
pub(crate) struct Control {
    argv: Arc<[String]>,
    /// Components that were stopped and not started since.
    stopped: Arc<Mutex<BTreeSet<Part>>>,
    /// Serializes the verbs: when a scenario is cancelled within one, that verb completes before anything is
    /// restored.
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

    /// Stops the component gracefully; returns when it is gone.
    pub(crate) async fn stop(&self, part: Part) -> Result<()> {
        self.note(part, true);
        self.call("stop", part).await.map(drop)
    }

    /// Ends the component with SIGKILL. Whether it restarts by itself depends on the provider; [`Self::start`]
    /// ensures it.
    pub(crate) async fn kill(&self, part: Part) -> Result<()> {
        self.note(part, true);
        self.call("kill", part).await.map(drop)
    }

    /// Starts the component; returns when it has started.
    pub(crate) async fn start(&self, part: Part) -> Result<()> {
        self.call("start", part).await?;
        self.note(part, false);
        Ok(())
    }

    /// Replaces the component gracefully; returns when the new one has started.
    pub(crate) async fn restart(&self, part: Part) -> Result<()> {
        self.note(part, true);
        self.call("restart", part).await?;
        self.note(part, false);
        Ok(())
    }

    /// Returns the component's log.
    pub(crate) async fn logs(&self, part: Part) -> Result<String> {
        self.call("logs", part).await
    }

    /// Starts every component that is still stopped.
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
                .with_context(|| format!("cannot start {part} again"))?;
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
        // A task of its own: it completes even when the scenario is cancelled.
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

    /// A control command that records its verbs, and fails at `broken`.
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
    async fn restores_exactly_what_was_stopped_or_killed() {
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
    async fn failed_verb_is_an_error_and_the_component_counts_as_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let control = recording(folder.path(), "restart gateway");
        let error = control.restart(Part::Gateway).await.unwrap_err().to_string();
        assert!(error.contains("restart gateway"), "{error}");
        control.restore().await.unwrap();
        assert_eq!(calls(folder.path()), ["restart gateway", "start gateway"]);
    }

    #[tokio::test]
    async fn cancelled_verb_completes_before_restoring() {
        let folder = tempfile::tempdir().unwrap();
        let control = recording(folder.path(), "none");
        let turn = control.turn.clone().lock_owned().await;
        // The verb is queued when its future is dropped.
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
