//! `cargo xtask install-hooks`: the images of each commit are checked before it is made, with git alone.

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
/// Writes pre-commit into git's hooks folder (core.hooksPath where it is set). A hook that is there and is not ours
/// is replaced only after a yes.
#[derive(Args)]
pub(crate) struct Options {
    /// Replace a hook that is there without asking
    #[arg(long)]
    replace: bool,
}

const HOOK: &str = "\
#!/bin/sh
# Written by `cargo xtask install-hooks`: refuses a commit whose images break the registry policy (docs/lint-images.md).
# `git commit --no-verify` leaves it out once; removing this file, for ever.
exec cargo xtask lint-images --staged
";

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { replace } = options;
    let folder = hooks_folder(Path::new("."))?;
    let hook = folder.join("pre-commit");
    match fs::read_to_string(&hook) {
        Ok(text) if text == HOOK => {
            eprint_line(format!("{} is installed already", hook.display()));
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ if replace || is_yes(&hook)? => {}
        _ => {
            eprint_line(format!(
                "{} is there and was left as it is. To have both, end it with: exec cargo xtask lint-images --staged. \
                 To replace it: cargo xtask install-hooks --replace",
                hook.display()
            ));
            return Ok(ExitCode::from(2));
        }
    }
    install(&folder, &hook).with_context(|| format!("can't write {}", hook.display()))?;
    eprint_line(format!(
        "installed {}: each commit's images are checked before it is made",
        hook.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Git's own answer, so that core.hooksPath, work trees and GIT_DIR are respected.
fn hooks_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut git = process::Command::new("git");
    git.args(["rev-parse", "--git-path", "hooks"]).current_dir(folder);
    let output = Command::new(git)
        .deadline(Duration::from_secs(10))
        .capture(&Cancel::never())?;
    Ok(folder.join(output.text()))
}

/// Asks a person. Without one, the answer is no.
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
    fn the_hook_goes_where_git_looks_for_it() {
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
    fn the_hook_is_one_that_git_runs() {
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
