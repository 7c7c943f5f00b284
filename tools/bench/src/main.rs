//! `cargo xtask bench NAME`: measures the figures of docs/benchmarks.md and prints them as Markdown.
//!
//! Exit codes: 0 all targets are met, 1 a target is missed, 2 usage, 3 the measurement failed, 130
//! interrupted.
//!
//! ```sh
//! cargo xtask bench datastorage --part writes --seconds 5
//! ```

#![deny(clippy::print_stderr)]

mod children;
mod datastorage;
mod e2e;
mod figures;
mod lint;
mod page;
mod plot;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// Measure the figures of docs/benchmarks.md
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", version)]
enum Bench {
    Datastorage(datastorage::Options),
    E2e(e2e::Options),
    Lint(lint::Options),
}

fn main() -> ExitCode {
    let bench = Bench::parse();
    let result = children::end_on_signals().and_then(|()| match bench {
        Bench::Datastorage(options) => datastorage::run(options),
        Bench::E2e(options) => e2e::run(options),
        Bench::Lint(options) => lint::run(options),
    });
    result.unwrap_or_else(|error| {
        if children::is_interrupted() {
            return ExitCode::from(130);
        }
        subprocess::eprint_line(format!("error: {error:#}"));
        ExitCode::from(3)
    })
}
