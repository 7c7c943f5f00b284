//! `cargo xtask control --run DIR VERB NAME`: stops, starts, restarts or kills a part of a running stack.
//!
//! The same words work on every provider, so that scenarios need not know where they run. Each call returns when
//! what it asks for is so: `stop` when the part is gone, `start` and `restart` when it answers again. `kill` is
//! SIGKILL; in a cluster the part comes back by itself, elsewhere `start` brings it back.

mod cluster;
mod local;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::run_folder::{self, ProviderName, RunFolder};

/// Stop, start, restart or kill a part of a running stack: what the fault scenarios use
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The run's folder
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// What to do
    #[arg(value_enum)]
    verb: Verb,
    /// A component or service of the stack file, or `kubernetes` for the cluster's API
    name: String,
}

/// What can be done to a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verb {
    /// End it in order; it stays away
    Stop,
    /// Bring it back
    Start,
    /// Replace it in order
    Restart,
    /// End it with SIGKILL
    Kill,
    /// Print what it logged
    Logs,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { run, verb, name } = options;
    let folder = RunFolder::open(&run, &run_folder::index())?;
    match folder.owner().provider {
        ProviderName::Local => local::control(&folder, verb, &name)?,
        ProviderName::Kind | ProviderName::Cluster => cluster::control(&folder, verb, &name)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for a condition of a part; the error says the last state.
fn wait(
    what: &str,
    limit: Duration,
    mut state: impl FnMut() -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    while let Some(state) = state()? {
        if Instant::now() > deadline {
            anyhow::bail!(
                "waited {} s until {what}; the last state was: {state}",
                limit.as_secs()
            );
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok(())
}

/// The stack file that the run's tests were given.
fn stack_file(folder: &RunFolder) -> anyhow::Result<serde_json::Value> {
    let path: &Path = &folder.stack_file();
    let text =
        std::fs::read(path).with_context(|| format!("{} has no stack file: is it up?", folder.run()))?;
    Ok(serde_json::from_slice(&text)?)
}
