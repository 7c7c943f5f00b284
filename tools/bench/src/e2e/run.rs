//! One run of `cargo xtask e2e`, measured.

use std::{process::Command, time::Duration};

use anyhow::Context;
use report::Document;
use subprocess::Cancel;

use super::provider::ProviderName;
use crate::workspace;

/// The scenario that proves that the stack is up.
pub(super) const SCENARIO: &str = "g16";

/// A run on a machine that others use too.
const LONGEST_RUN: Duration = Duration::from_secs(3600);

/// Seconds between two looks at the machine's CPUs.
const SAMPLE: f64 = 0.5;

/// One measured run.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// Seconds until the scenarios began: everything is built, deployed and ready.
    pub(super) up: f64,
    pub(super) document: Document,
}

/// A whole run in an order, from nothing to nothing.
pub(super) fn cold(provider: ProviderName, order: &str) -> anyhow::Result<Measured> {
    let mut command = e2e(provider)?;
    command.args(["--order", order]);
    // A failed run must not leave a cluster to the next one.
    command.env("CI", "true");
    read_from(command, &format!("a run in the order {order}"))
}

/// The runner of this workspace, built before: a round of the warm loop must not contain its build.
pub(super) fn xtask() -> anyhow::Result<Command> {
    Ok(Command::new(workspace::build_one(&["--package=xtask"])?))
}

/// A run of the scenario that is measured, to which more can be said.
pub(super) fn e2e(provider: ProviderName) -> anyhow::Result<Command> {
    let mut command = xtask()?;
    command.args(["e2e", SCENARIO, "--format", "json", "--provider"]);
    command.arg(provider.to_string());
    Ok(command)
}

pub(super) fn read_from(command: Command, name: &str) -> anyhow::Result<Measured> {
    let command = subprocess::Command::new(command).name(name);
    let output = command
        .deadline(LONGEST_RUN)
        .capture(&Cancel::never())
        .context("the runs before it are kept: --resume goes on from here")?;
    Measured::read(&output.stdout)
}

impl Measured {
    pub(super) fn read(report: &[u8]) -> anyhow::Result<Self> {
        let document: Document = serde_json::from_slice(report).context("the run's report can't be read")?;
        let test = document.tasks.iter().find(|task| task.name == "test");
        let up = test
            .and_then(|task| task.start)
            .context("the scenarios never began")?;
        Ok(Self { up, document })
    }

    /// How long a task ran.
    pub(super) fn duration(&self, task: &str) -> Option<f64> {
        let task = self.document.tasks.iter().find(|known| known.name == task)?;
        Some(task.end - task.start?)
    }

    /// How many CPUs of the whole machine were busy while a task ran.
    pub(super) fn cpus(&self, task: &str) -> Option<f64> {
        let task = self.document.tasks.iter().find(|known| known.name == task)?;
        let start = task.start?;
        // Between two samples nothing is known.
        (task.end - start > SAMPLE).then(|| self.busy(start, task.end) / (task.end - start))
    }

    /// CPU seconds of the whole machine from one moment of the run to another.
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
