//! A verb.

use std::process::ExitCode;

use clap::Args;

/// A verb.
#[derive(Args)]
pub(crate) struct Options {}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {} = options;
    Ok(ExitCode::SUCCESS)
}
