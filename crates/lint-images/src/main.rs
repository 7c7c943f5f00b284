//! Program `lint-images`, for hooks and other repositories; `cargo xtask lint-images` starts it.

use std::process::ExitCode;

use clap::Parser;

/// Check every image that a repository builds on or runs against its registry policy
#[derive(Parser)]
#[command(version)]
struct Program {
    #[command(flatten)]
    options: lint_images::Options,
}

fn main() -> ExitCode {
    lint_images::run(Program::parse().options).unwrap_or_else(|error| {
        subprocess::eprint_line(format!("error: {error:#}"));
        ExitCode::from(3)
    })
}
