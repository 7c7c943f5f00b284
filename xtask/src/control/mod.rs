//! `cargo xtask control --run DIR VERB NAME`: stops, starts, restarts or kills a component or service of a running stack.
//!
//! The same arguments work on every provider, so that scenarios are independent of it. Each call waits for its effect:
//! `stop` for the end, `start` and `restart` until it accepts connections again. `kill` sends SIGKILL; a cluster restarts
//! the container, on local `start` does.

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

/// Stop, start, restart or kill a component or service of a running stack, for fault scenarios
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Action
    #[arg(value_enum)]
    verb: Verb,
    /// Component or service of the stack file, or `kubernetes` for the cluster's API server
    name: String,
}

/// Action on a component or service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verb {
    /// Stop it gracefully
    Stop,
    /// Start it again
    Start,
    /// Stop it gracefully and start it again
    Restart,
    /// Kill it by SIGKILL
    Kill,
    /// Print its log
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

/// Waits until `state` returns nothing; the error contains the last state.
fn wait(
    what: &str,
    limit: Duration,
    mut state: impl FnMut() -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    while let Some(state) = state()? {
        if Instant::now() > deadline {
            anyhow::bail!(
                "timed out after {} s waiting until {what}; last state: {state}",
                limit.as_secs()
            );
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok(())
}

/// Reads the file with the addresses of the run's stack.
fn stack_file(folder: &RunFolder) -> anyhow::Result<serde_json::Value> {
    let path: &Path = &folder.stack_file();
    let text = std::fs::read(path)
        .with_context(|| format!("cannot read {}; is run {} up?", path.display(), folder.run()))?;
    Ok(serde_json::from_slice(&text)?)
}
