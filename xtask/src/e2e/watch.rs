//! `cargo xtask e2e watch`: a run on each save.

use std::{
    ffi::OsString,
    path::{Component, Path},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::Duration,
};

use anyhow::Context;
use notify::{Event, EventKind, RecursiveMode, Watcher};
use subprocess::{Cancel, Signal};

use crate::run_folder::{self, RunFolder, State};
use subprocess::eprint_line;

/// Time without events after which a change is complete: an editor writes several files for one save, and git many for
/// one checkout.
const QUIET: Duration = Duration::from_millis(200);

/// Maximum duration of the cleanup of an interrupted run.
const GRACE: Duration = Duration::from_secs(120);

/// Runs `e2e --keep` with the same arguments, and again whenever a file of the workspace or beside the stack file
/// changes, until Ctrl-C. Relative arguments refer to the folder `here`.
pub(super) fn run(here: &Path, workspace: &Path, stack: &Path) -> anyhow::Result<ExitCode> {
    let (changed, changes) = channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // The receiver is gone once the loop is over.
        let _over = changed.send(event);
    })
    .context("cannot watch files")?;
    for folder in watched(workspace, stack)? {
        watcher
            .watch(&folder, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
    }
    let cancel = Cancel::new();
    let stopped = Arc::new(AtomicBool::new(false));
    let (fired, noted) = (cancel.clone(), Arc::clone(&stopped));
    ctrlc::set_handler(move || {
        noted.store(true, Ordering::SeqCst);
        fired.cancel();
    })
    .context("cannot install the handler of Ctrl-C")?;
    while !stopped.load(Ordering::SeqCst) {
        round(here, &cancel)?;
        if !stopped.load(Ordering::SeqCst) {
            eprint_line(format!(
                "watching {}: runs again on the next save; Ctrl-C stops",
                workspace.display()
            ));
        }
        match next_change(&changes, &stopped)? {
            Some(what) => eprint_line(format!("\n{what} changed")),
            None => break,
        }
    }
    let runs = RunFolder::list(&run_folder::runs(), &run_folder::index());
    if runs.iter().any(|run| run.owner().state == State::Kept) {
        let program = crate::called_as();
        eprint_line(format!(
            "the stack is kept: `{program} status` shows it, `{program} down` removes it"
        ));
    }
    Ok(ExitCode::from(130))
}

/// Runs `e2e` once, in the folder in which the watch was started. The run prints its own result.
fn round(here: &Path, cancel: &Cancel) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("cannot find the path of this program")?;
    let mut command = std::process::Command::new(own);
    command
        .args(arguments(std::env::args_os().skip(1)))
        .current_dir(here);
    let ended = subprocess::Command::new(command)
        .name("e2e --keep")
        .stop_signal(Signal::INT)
        .grace(GRACE)
        .observe(|line| eprint_line(line))
        .run(cancel);
    match ended {
        Err(failure) if matches!(failure.outcome(), subprocess::Outcome::NotStarted(_)) => {
            Err(failure.into())
        }
        // The next save may fix a failure.
        _ => Ok(()),
    }
}

/// Returns the arguments of a run: those of the watch, without the word and with `--keep`.
fn arguments(own: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = own.collect();
    if let Some(index) = arguments.iter().position(|argument| argument == "watch") {
        arguments.remove(index);
    }
    if !arguments.iter().any(|argument| argument == "--keep") {
        arguments.push("--keep".into());
    }
    arguments
}

/// Returns the workspace's folders with sources, and the stack file's folder.
fn watched(workspace: &Path, stack: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut folders = Vec::new();
    for entry in
        std::fs::read_dir(workspace).with_context(|| format!("cannot read {}", workspace.display()))?
    {
        let path = entry?.path();
        // Files of the root are not watched: each build writes the lock file.
        if path.is_dir() && is_source(workspace, &path) {
            folders.push(path);
        }
    }
    let beside = stack.parent().unwrap_or(Path::new("."));
    if !folders.iter().any(|folder| beside.starts_with(folder)) {
        folders.push(beside.to_path_buf());
    }
    Ok(folders)
}

/// Whether a path is a source, and no file of cargo, git or an editor.
fn is_source(root: &Path, path: &Path) -> bool {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let mut parts = relative.components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    !parts.any(|name| {
        name == "target" || name.starts_with('.') || name.ends_with('~') || name.ends_with(".swp")
    })
}

/// Waits for a change and the end of its events; `None` when the watch is over.
fn next_change(
    changes: &Receiver<notify::Result<Event>>,
    stopped: &AtomicBool,
) -> anyhow::Result<Option<String>> {
    let mut first = None;
    loop {
        if stopped.load(Ordering::SeqCst) {
            return Ok(None);
        }
        match changes.recv_timeout(QUIET) {
            Ok(event) => {
                let event = event.context("watching files")?;
                let is_change = matches!(
                    event.kind,
                    EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_)
                );
                let path = event
                    .paths
                    .into_iter()
                    .find(|path| is_source(&std::env::current_dir().unwrap_or_default(), path));
                first = first.or(path.filter(|_| is_change));
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(path) = first {
                    return Ok(Some(path.display().to_string()));
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_has_the_same_arguments_and_keeps_the_stack() {
        let of = |words: &str| {
            let words = words.split(' ').map(OsString::from);
            arguments(words)
                .join(std::ffi::OsStr::new(" "))
                .into_string()
                .unwrap()
        };
        assert_eq!(
            of("e2e watch g01 --provider local"),
            "e2e g01 --provider local --keep"
        );
        assert_eq!(of("e2e --keep watch"), "e2e --keep");
    }

    #[test]
    fn ignores_build_output_and_editor_files() {
        let root = Path::new("/a/target/repository");
        let of = |path: &str| is_source(root, &root.join(path));
        assert!(of("front/src/main.rs") && of("deploy/config/front.toml"));
        assert!(
            !of("target/debug/front")
                && !of(".git/index")
                && !of("front/src/.main.rs.swp")
                && !of("front/src/main.rs~")
        );
    }
}
