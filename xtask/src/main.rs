//! `cargo xtask VERB`: builds, lints, deploys and tests the stack.
//!
//! A verb is a file or folder of the same name with its `Options` and `run`. Exit codes: 0 fine, 1 tests or
//! policy failed, 2 usage, 3 the environment can't do it, 130 interrupted.

mod e2e;
mod run_folder;

use std::process::ExitCode;

use clap::Parser;

/// Builds, lints, deploys and tests the stack.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, propagate_version = true)]
enum Verb {
    E2e(e2e::Options),
    LintImages(lint_images::Options),
}

fn main() -> ExitCode {
    let result = match Verb::parse() {
        Verb::E2e(options) => e2e::run(options),
        Verb::LintImages(options) => lint_images::run(options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(3)
    })
}
