//! `cargo xtask bench`: runs the program in `tools/bench`.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command, process::ExitCode};

use anyhow::anyhow;
use clap::Args;

/// Measure the figures of docs/benchmarks.md
#[derive(Args)]
pub(crate) struct Options {
    /// Arguments of the bench; --help lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Replaces this process by the bench, so that signals and the exit code are its own.
///
/// It is built in the dev profile: it only starts and times other programs, which it builds with optimization.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { arguments } = options;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--package", "bench", "--"]);
    let error = command.args(arguments).exec();
    Err(anyhow!(error).context("cannot start cargo"))
}
