//! Verbs that are programs of their own: `cargo xtask bench` and `cargo xtask lint-images`.
//!
//! They share no code with the other verbs, which start sooner without theirs.

use std::{env, ffi::OsString, io, os::unix::process::CommandExt as _, process::Command, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::Args;

/// Arguments, read by the program itself.
#[derive(Args)]
pub(crate) struct Options {
    /// Arguments of the program; --help lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Replaces this process by the program, so that signals and the exit code are its own.
///
/// Cargo builds it in its workspace. An installed runner starts the installed program: the one beside it, or on PATH.
pub(crate) fn run(name: &str, options: Options) -> anyhow::Result<ExitCode> {
    let Options { arguments } = options;
    let mut command = match env::var_os("CARGO") {
        Some(cargo) => {
            let mut command = Command::new(cargo);
            command.args(["run", "--quiet", "--package", name, "--"]);
            command
        }
        None => {
            let beside = env::current_exe()
                .context("cannot find this program")?
                .with_file_name(name);
            Command::new(if beside.is_file() { beside } else { name.into() })
        }
    };
    let error = command.args(arguments).exec();
    if error.kind() == io::ErrorKind::NotFound {
        bail!("cannot find the program {name}: install it beside xtask with `cargo install`");
    }
    Err(error).with_context(|| format!("cannot start {name}"))
}
