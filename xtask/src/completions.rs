//! `cargo xtask completions SHELL`: prints the completion script of a shell.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

/// Print the completion script of a shell
///
/// For the installed program `xtask`: `xtask completions bash > ~/.local/share/bash-completion/completions/xtask`,
/// `xtask completions zsh > "${fpath[1]}/_xtask"`, `xtask completions fish > ~/.config/fish/completions/xtask.fish`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Shell
    shell: Shell,
}

pub(crate) fn run(options: Options, mut verbs: Command) -> anyhow::Result<ExitCode> {
    let Options { shell } = options;
    // Shells complete by the program's name, which for `cargo xtask` would be cargo.
    clap_complete::generate(shell, &mut verbs, "xtask", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
