//! `cargo xtask VERB`: builds, lints, deploys and tests the stack.
//!
//! Each verb is a module of the same name with its `Options` and `run`, or a program of its own (`program`); verbs share the
//! other modules.
//! Exit codes: 0 success, 1 tests or policy failed, 2 usage, 3 the environment is unsuitable, 130 interrupted.
//!
//! ```sh
//! cargo xtask e2e --provider local g01
//! ```

#![deny(clippy::print_stderr)]

mod command;
mod completions;
mod control;
mod doctor;
mod down;
mod e2e;
mod elf;
mod forward;
mod gc;
mod install_hooks;
mod labels;
mod logs;
mod merge_reports;
mod ports;
mod program;
mod removal;
mod run_folder;
mod stack;
mod status;
mod workload;
mod yaml;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

/// Returns the command of this program: cargo's alias in its own workspace, or its name where it is installed.
pub(crate) fn called_as() -> &'static str {
    match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(_) => "cargo xtask",
        None => "xtask",
    }
}

/// Returns the command of this process, as its user wrote it.
pub(crate) fn command_line() -> Vec<String> {
    let program = called_as().split(' ').map(str::to_owned);
    program.chain(std::env::args().skip(1)).collect()
}

/// Build, lint, deploy and test the stack
#[derive(Parser)]
#[command(
    name = called_as(),
    bin_name = called_as(),
    version,
    propagate_version = true
)]
enum Verb {
    /// Measure the figures of docs/benchmarks.md
    #[command(disable_help_flag = true)]
    Bench(program::Options),
    Completions(completions::Options),
    Control(control::Options),
    Doctor(doctor::Options),
    Down(down::Options),
    E2e(Box<e2e::Options>),
    #[command(hide = true)]
    Forward(forward::Options),
    Gc(gc::Options),
    InstallHooks(install_hooks::Options),
    /// Check every image that a repository builds on or runs against its registry policy
    #[command(disable_help_flag = true)]
    LintImages(program::Options),
    Logs(logs::Options),
    MergeReports(merge_reports::Options),
    Status(status::Options),
}

fn main() -> ExitCode {
    let result = match Verb::parse() {
        Verb::Bench(options) => program::run("bench", options),
        Verb::Completions(options) => completions::run(options, Verb::command()),
        Verb::Control(options) => control::run(options),
        Verb::Doctor(options) => doctor::run(options),
        Verb::Down(options) => down::run(options),
        Verb::E2e(options) => e2e::run(*options),
        Verb::Forward(options) => forward::run(options),
        Verb::Gc(options) => gc::run(options),
        Verb::InstallHooks(options) => install_hooks::run(options),
        Verb::LintImages(options) => program::run("lint-images", options),
        Verb::Logs(options) => logs::run(options),
        Verb::MergeReports(options) => merge_reports::run(options),
        Verb::Status(options) => status::run(options),
    };
    result.unwrap_or_else(|error| {
        subprocess::eprint_line(format!("error: {error:#}"));
        ExitCode::from(3)
    })
}
