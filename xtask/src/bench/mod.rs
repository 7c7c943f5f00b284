//! `cargo xtask bench NAME`: measures what docs/benchmarks.md says, and prints it as Markdown.

mod datastorage;
mod e2e;
mod figures;
mod lint;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Measure what docs/benchmarks.md says
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    Datastorage(datastorage::Options),
    E2e(e2e::Options),
    Lint(lint::Options),
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { bench } = options;
    match bench {
        Bench::Datastorage(options) => datastorage::run(options),
        Bench::E2e(options) => e2e::run(options),
        Bench::Lint(options) => lint::run(options),
    }
}
