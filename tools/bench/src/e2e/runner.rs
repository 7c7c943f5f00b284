//! Overhead of the runner: start of a verb, time to the first scenario, cold build.

use std::{process::Command, time::Instant};

use anyhow::Context;

use super::{
    provider::ProviderName,
    record::{BUILD, FIRST_SCENARIO, Record, VERB},
    run::{self, Measured, SCENARIO},
};
use crate::{
    children,
    workspace::{self, cargo},
};
use subprocess::eprint_line;

/// Measured starts of a verb.
const STARTS: usize = 9;

pub(super) fn measure(provider: ProviderName, rounds: usize, record: &mut Record) -> anyhow::Result<()> {
    eprint_line("start of a verb");
    // Not counted: it may build the runner.
    status()?;
    while record.seconds(VERB).len() < STARTS {
        record.add_seconds(VERB, status()?)?;
    }
    if provider == ProviderName::Local && record.seconds(FIRST_SCENARIO).len() < rounds {
        eprint_line("time to the first scenario");
        run::cold(provider, super::ORDERS[0])?;
        while record.seconds(FIRST_SCENARIO).len() < rounds {
            record.add_seconds(FIRST_SCENARIO, first_scenario(provider)?)?;
        }
    }
    Ok(())
}

/// Measures a build of the runner in an empty target folder.
pub(super) fn build(record: &mut Record) -> anyhow::Result<()> {
    eprint_line("build of the runner in an empty target folder");
    let folder = workspace::target().join("bench");
    std::fs::create_dir_all(&folder)?;
    let target = tempfile::tempdir_in(std::path::absolute(folder)?)?;
    let mut command = Command::new(cargo());
    command
        .args(["build", "--quiet", "--locked", "--package", "xtask"])
        .env("CARGO_TARGET_DIR", target.path());
    record.add_seconds(BUILD, timed(command)?)
}

fn status() -> anyhow::Result<f64> {
    let mut command = Command::new(cargo());
    command.args(["xtask", "status"]);
    timed(command)
}

fn timed(command: Command) -> anyhow::Result<f64> {
    let start = Instant::now();
    children::capture(command, workspace::BUILD_LIMIT)?;
    Ok(start.elapsed().as_secs_f64())
}

/// Seconds from the start of `cargo xtask e2e` until the scenario starts.
fn first_scenario(provider: ProviderName) -> anyhow::Result<f64> {
    let mut command = Command::new(cargo());
    command.args(["xtask", "e2e", SCENARIO, "--format", "json", "--provider"]);
    command.arg(provider.to_string()).env("CI", "true");
    let start = jiff::Timestamp::now();
    let run = run::read_from(command, "a run")?;
    until_first_scenario(start, &run).context("no scenario ran")
}

fn until_first_scenario(start: jiff::Timestamp, run: &Measured) -> Option<f64> {
    let before = run.document.run.started.duration_since(start).as_secs_f64();
    let tests = run.document.tasks.iter().find(|task| task.name == "test")?;
    Some(before + tests.end - run.document.tests.first()?.seconds)
}
