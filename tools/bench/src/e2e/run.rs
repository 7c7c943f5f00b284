//! A measured run of `cargo xtask e2e`.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Context;
use report::Document;

use super::provider::ProviderName;
use crate::{children, workspace};

/// Scenario that proves that the stack is up.
pub(super) const SCENARIO: &str = "g16";

/// Maximum time of a run, on a loaded machine.
const RUN_LIMIT: Duration = Duration::from_secs(3600);

/// Maximum time in which an interrupted run removes its stack.
const CLEANUP_LIMIT: Duration = Duration::from_secs(120);

/// Seconds between two samples of the machine's CPUs.
const SAMPLE: f64 = 0.5;

/// One measured run.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// Seconds until the scenarios started: everything is built, deployed and ready.
    pub(super) up: f64,
    pub(super) document: Document,
}

/// Makes a whole run in an order, including setup and removal of the cluster.
pub(super) fn cold(provider: ProviderName, order: &str) -> anyhow::Result<Measured> {
    let mut command = e2e(provider)?;
    command.args(["--order", order]);
    // With CI=true a failed run removes its cluster.
    command.env("CI", "true");
    read_from(command, &format!("a run in the order {order}"))
}

/// Builds this workspace's runner and returns its path: measured times must not include its build.
pub(super) fn runner() -> anyhow::Result<PathBuf> {
    workspace::build_one(&["--package=xtask"])
}

/// Returns the command of a run, to which arguments may be added.
pub(super) fn e2e(provider: ProviderName) -> anyhow::Result<Command> {
    let mut command = Command::new(runner()?);
    command.args(["e2e", SCENARIO, "--format", "json", "--provider"]);
    command.arg(provider.to_string());
    Ok(command)
}

pub(super) fn read_from(command: Command, name: &str) -> anyhow::Result<Measured> {
    let command = subprocess::Command::new(command).name(name);
    let output = children::wait(command.deadline(RUN_LIMIT).grace(CLEANUP_LIMIT))
        .context("run failed; continue with --resume, which keeps the earlier runs")?;
    Measured::read(&output.stdout)
}

impl Measured {
    pub(super) fn read(report: &[u8]) -> anyhow::Result<Self> {
        let document: Document = serde_json::from_slice(report).context("cannot read the run's report")?;
        let test = document.tasks.iter().find(|task| task.name == "test");
        let up = test
            .and_then(|task| task.start)
            .context("the scenarios never started")?;
        Ok(Self { up, document })
    }

    /// Duration of a task in seconds.
    pub(super) fn duration(&self, task: &str) -> Option<f64> {
        let task = self.document.tasks.iter().find(|known| known.name == task)?;
        Some(task.end - task.start?)
    }

    /// Busy CPUs of the whole machine while a task ran; `None` if it was shorter than a sample.
    pub(super) fn cpus(&self, task: &str) -> Option<f64> {
        let task = self.document.tasks.iter().find(|known| known.name == task)?;
        let start = task.start?;

        (task.end - start > SAMPLE).then(|| self.busy(start, task.end) / (task.end - start))
    }

    /// CPU seconds of the whole machine in an interval of the run.
    pub(super) fn busy(&self, from: f64, to: f64) -> f64 {
        let mut before = 0.0;
        let mut seconds = 0.0;
        for sample in &self.document.samples {
            let shared = sample.at.min(to) - f64::max(before, from);
            seconds += shared.max(0.0) * sample.cpus;
            before = sample.at;
        }
        seconds
    }
}
