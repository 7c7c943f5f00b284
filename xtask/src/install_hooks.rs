//! `cargo xtask install-hooks`: installs the pre-commit hook that checks the images of each commit.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use subprocess::{Cancel, Command};

use subprocess::eprint_line;

/// Install the git hook that checks the images of each commit
///
/// Write pre-commit into git's hooks folder (core.hooksPath if set). Ask before replacing another hook.
#[derive(Args)]
pub(crate) struct Options {
    /// Replace another hook without asking
    #[arg(long)]
    replace: bool,
}

const HOOK: &str = "\
#!/bin/sh
# Written by `cargo xtask install-hooks`: rejects commits whose images violate the registry policy (docs/lint-images.md).
# To skip it once: git commit --no-verify. To uninstall it: remove this file.
exec cargo xtask lint-images --staged
";

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { replace } = options;
    let folder = hooks_folder(Path::new("."))?;
    let hook = folder.join("pre-commit");
    match fs::read_to_string(&hook) {
        Ok(text) if text == HOOK => {
            eprint_line(format!("{} is already installed", hook.display()));
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ if replace || is_yes(&hook)? => {}
        _ => {
            eprint_line(format!(
                "not installed: {} is another hook; to use both, append to it: exec cargo xtask lint-images --staged; \
                 to replace it: cargo xtask install-hooks --replace",
                hook.display()
            ));
            return Ok(ExitCode::from(2));
        }
    }
    install(&folder, &hook).with_context(|| format!("cannot write {}", hook.display()))?;
    eprint_line(format!(
        "installed {}, which checks the images of each commit",
        hook.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Returns the hooks folder from git itself, which respects core.hooksPath, work trees and GIT_DIR.
fn hooks_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut git = process::Command::new("git");
    git.args(["rev-parse", "--git-path", "hooks"]).current_dir(folder);
    let output = Command::new(git)
        .deadline(Duration::from_secs(10))
        .capture(&Cancel::never())?;
    Ok(folder.join(output.text()))
}

/// Asks the user; no without a terminal.
fn is_yes(hook: &Path) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut screen = io::stderr();
    write!(screen, "{} is another hook. Replace it? [y/N] ", hook.display())?;
    screen.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn install(folder: &Path, hook: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(hook, HOOK)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(hook, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(folder: &Path, arguments: &[&str]) {
        let mut git = process::Command::new("git");
        git.args(arguments).current_dir(folder);
        Command::new(git)
            .deadline(Duration::from_secs(10))
            .capture(&Cancel::never())
            .unwrap();
    }

    #[test]
    fn finds_hooks_folder_that_git_uses() {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet"]);
        let plain = hooks_folder(folder.path()).unwrap();
        assert_eq!(
            plain.canonicalize().unwrap(),
            folder.path().join(".git/hooks").canonicalize().unwrap()
        );
        git(folder.path(), &["config", "core.hooksPath", "tools/hooks"]);
        assert_eq!(
            hooks_folder(folder.path()).unwrap(),
            folder.path().join("tools/hooks")
        );
    }

    #[test]
    fn installed_hook_is_an_executable_script() {
        let folder = tempfile::tempdir().unwrap();
        let hooks = folder.path().join("hooks");
        install(&hooks, &hooks.join("pre-commit")).unwrap();
        let metadata = fs::metadata(hooks.join("pre-commit")).unwrap();
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111,
            0o111
        );
        assert!(
            fs::read_to_string(hooks.join("pre-commit"))
                .unwrap()
                .starts_with("#!")
        );
    }
}
