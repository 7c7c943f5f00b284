//! The runner's own behaviour on errors.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use subprocess::{Cancel, Command};

use crate::harness::context::Context;
use crate::harness::scenario::Requirement::Runner;
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "x01_a_compile_error_stops_the_run_before_any_cluster_naming_file_and_line",
    |c| Box::pin(compile_error(c)),
)
.requires(&[Runner])
.takes(15, 300)];

/// Maximum time from the command to the report of a compile error.
const REPORTED: Duration = Duration::from_secs(120);

async fn compile_error(context: &Context) -> Result<()> {
    let stack = context.stack.clone();
    tokio::task::spawn_blocking(move || {
        let sources = stack
            .workspace
            .as_deref()
            .context("the stack file has no workspace")?;
        let target = target_folder(sources)?;
        let scratch = tempfile::Builder::new().prefix("x01-").tempdir_in(&target)?;
        let (copy, own) = (scratch.path().join("workspace"), scratch.path().join("target"));
        share_artifacts(&target, &own)?;
        copy_tracked(sources, &copy)?;
        let broken = Path::new("datastorage/src/lib.rs");
        let mut text = fs::read_to_string(copy.join(broken))?;
        let line = text.lines().count() + 2;
        text.push_str("\nfn broken( -> {}\n");
        fs::write(copy.join(broken), text)?;

        let (runner, arguments) = stack
            .runner
            .split_first()
            .context("the stack file has no runner")?;
        // An existing cluster would have to be named; that none is started is the same for every provider.
        let provider = match stack.provider.as_str() {
            "cluster" => "local",
            own => own,
        };
        let log = scratch.path().join("output");
        let mut command = process::Command::new(runner);
        command.args(arguments).args(["e2e", "--provider", provider]);
        command.current_dir(&copy).env("CARGO_TARGET_DIR", &own);
        // Cargo's variables of the surrounding run would lead back to its sources.
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        let began = Instant::now();
        let run = Command::new(command)
            .name("the run with a compile error")
            .deadline(REPORTED)
            .log(&log);
        let failure = run
            .run(&Cancel::never())
            .err()
            .ok_or_else(|| anyhow!("the run passed"))?;
        let (took, output) = (began.elapsed(), fs::read_to_string(&log)?);
        let place = format!("{}:{line}", broken.display());
        ensure!(
            output.contains("error: "),
            "expected rustc's own message, found:\n{failure}\n{output}"
        );
        ensure!(
            output.contains(&place),
            "expected {place} to be named, found:\n{failure}\n{output}"
        );
        ensure!(
            took < REPORTED,
            "expected the error within {REPORTED:?}, it took {took:?}"
        );
        nothing_started(&own)
    })
    .await?
}

/// The target folder of the build that this runner belongs to.
fn target_folder(sources: &Path) -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => Ok(sources.join(folder)),
        None => Ok(sources.join("target")),
    }
}

/// Copies the tracked and untracked files, as they are in the work tree.
fn copy_tracked(from: &Path, to: &Path) -> Result<()> {
    let mut list = process::Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(from);
    let output = Command::new(list)
        .name("list the sources")
        .deadline(Duration::from_secs(30));
    let output = output
        .capture(&Cancel::never())
        .map_err(|failure| anyhow!("{failure}"))?;
    let output = String::from_utf8(output.stdout)?;
    for file in output.split('\0').filter(|file| !file.is_empty()) {
        let (source, copy) = (from.join(file), to.join(file));
        // Deleted in the work tree and still in git's index.
        if !source.exists() {
            continue;
        }
        fs::create_dir_all(copy.parent().unwrap_or(to))?;
        fs::copy(&source, &copy).with_context(|| file.to_owned())?;
    }
    Ok(())
}

/// A target folder for the copy that shares only the artifacts of the build at `target`: the runs made in it
/// belong to the copy.
fn share_artifacts(target: &Path, own: &Path) -> Result<()> {
    fs::create_dir_all(own)?;
    for profile in ["debug", "release"] {
        let artifacts = target.join(profile);
        if artifacts.is_dir() {
            std::os::unix::fs::symlink(artifacts, own.join(profile))?;
        }
    }
    Ok(())
}

/// Checks that the run has left no trace of a cluster or of a process in its folder.
fn nothing_started(target: &Path) -> Result<()> {
    for run in fs::read_dir(target.join("e2e"))?.collect::<Result<Vec<_>, _>>()? {
        let run = run.path();
        ensure!(
            !run.join("kubeconfig").exists(),
            "{} has a kubeconfig: a cluster was started",
            run.display()
        );
        ensure!(
            !run.join("stack.json").exists(),
            "{} has a stack file: something was deployed",
            run.display()
        );
        let processes: Vec<_> = fs::read_dir(run.join("processes"))
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        ensure!(processes.is_empty(), "processes were started: {processes:?}");
    }
    Ok(())
}
