//! The warm loop: edits one service and updates the kept stack by the same command.
//!
//! It runs in a copy of the workspace, so that the user's sources stay unchanged. The copy has its own target folder:
//! cargo confuses the artifacts of two workspaces that share one.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail, ensure};
use report::DocumentOutcome;
use serde::Deserialize;
use subprocess::Cancel;

use super::{
    provider::ProviderName,
    record::{Record, WARM},
    run::{self, Measured},
};
use crate::{children, workspace};
use subprocess::eprint_line;

/// The edited service.
const SERVICE: &str = "gateway";
/// The edited file. It contains code: the program changes only if lines of code move.
const SOURCE: &str = "gateway/src/main.rs";

/// Maximum time to remove a cluster, which takes seconds on an idle machine.
const REMOVAL_LIMIT: Duration = Duration::from_secs(300);

pub(super) fn measure(provider: ProviderName, rounds: usize, record: &mut Record) -> anyhow::Result<()> {
    if record.runs(WARM).len() >= rounds {
        return Ok(());
    }
    let copy = Workspace::copy()?;
    if let Some(run) = copy.kept(provider).first() {
        bail!("the warm loop would change the kept run {run}; remove it first: cargo xtask down {run}");
    }
    eprint_line("setup of the kept stack");
    let measured = copy
        .run(provider)
        .and_then(|_| loops(provider, rounds, &copy, record));
    let removed = copy.kept(provider).iter().try_for_each(|run| copy.down(run));
    measured.and(removed)
}

fn loops(provider: ProviderName, rounds: usize, copy: &Workspace, record: &mut Record) -> anyhow::Result<()> {
    while record.runs(WARM).len() < rounds {
        eprint_line(format!("round {} of {rounds}: warm", record.runs(WARM).len() + 1));
        edit(&copy.sources.join(SOURCE))?;
        let run = copy.run(provider)?;
        ensure!(
            is_updated(&run),
            "{SERVICE} was not updated after an edit of {SOURCE} (report: {})",
            copy.runs()
                .join(&run.document.run.id)
                .join("report.json")
                .display()
        );
        record.add_run(WARM, run)?;
    }
    Ok(())
}

/// Whether the image of the service was rebuilt or, without images, the service restarted.
pub(super) fn is_updated(run: &Measured) -> bool {
    let tasks = &run.document.tasks;
    let image = format!("image:{SERVICE}");
    let named = |name: &str| tasks.iter().find(|task| task.name == name);
    let task = named(&image).or_else(|| named(SERVICE));
    task.is_some_and(|task| matches!(task.outcome, DocumentOutcome::Done { .. }))
}

/// Fields of a run's `owner.json`.
#[derive(Deserialize)]
struct Owner {
    run: String,
    provider: ProviderName,
    state: String,
}

/// A copy of the workspace with its target folder.
struct Workspace {
    sources: PathBuf,
    target: PathBuf,
    /// Runner of the measured workspace, which removes the stack also after a signal, when nothing can be built.
    runner: PathBuf,
}

impl Workspace {
    fn copy() -> anyhow::Result<Self> {
        let bench = std::path::absolute(workspace::target().join("bench"))?;
        let (sources, target) = (bench.join("workspace"), bench.join("target"));
        copy(&workspace::root(), &sources)?;
        Ok(Self {
            sources,
            target,
            runner: run::runner()?,
        })
    }

    fn runs(&self) -> PathBuf {
        self.target.join("e2e")
    }

    fn kept(&self, provider: ProviderName) -> Vec<String> {
        let folders = fs::read_dir(self.runs()).into_iter().flatten().flatten();
        let owners = folders.filter_map(|folder| {
            let text = fs::read(folder.path().join("owner.json")).ok()?;
            serde_json::from_slice::<Owner>(&text).ok()
        });
        owners
            .filter(|owner| owner.state == "kept" && owner.provider == provider)
            .map(|owner| owner.run)
            .collect()
    }

    /// Makes a round; the first one sets up the stack.
    fn run(&self, provider: ProviderName) -> anyhow::Result<Measured> {
        let mut command = run::e2e(provider)?;
        command.arg("--keep");
        run::read_from(self.inside(command), "a round of the warm loop")
    }

    fn down(&self, run: &str) -> anyhow::Result<()> {
        let mut command = Command::new(&self.runner);
        command.args(["down", run]);
        let command = subprocess::Command::new(self.inside(command)).name(format!("remove run {run}"));
        command.deadline(REMOVAL_LIMIT).run(&Cancel::never())?;
        Ok(())
    }

    fn inside(&self, mut command: Command) -> Command {
        command
            .current_dir(&self.sources)
            .env("CARGO_TARGET_DIR", &self.target);
        command
    }
}

/// Moves every line of a file down, by a different number each time. That changes the line numbers in the program, and
/// so its hash, but not its behaviour.
fn edit(file: &Path) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let moved = "\n".repeat((now.as_secs() % 65_536) as usize + 1) + text.trim_start();
    fs::write(file, moved).with_context(|| format!("cannot write {}", file.display()))
}

/// Mirrors the files of a workspace that git does not ignore. Unchanged files keep their modification time, by which
/// cargo decides what to build.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    list.current_dir(from);
    let output = children::capture(list, Duration::from_secs(60))?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from);
    // Git also lists files that were deleted without a commit.
    mirror(
        from,
        to,
        &names.filter(|name| from.join(name).is_file()).collect(),
    )
}

fn mirror(from: &Path, to: &Path, names: &BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for name in names {
        let (old, new) = (from.join(name), to.join(name));
        let text = fs::read(&old).with_context(|| format!("cannot read {}", old.display()))?;
        if fs::read(&new).is_ok_and(|there| there == text) {
            continue;
        }
        fs::create_dir_all(new.parent().unwrap_or(to))?;
        fs::copy(&old, &new).with_context(|| format!("cannot write {}", new.display()))?;
    }
    for surplus in files(to, Path::new(""))? {
        if !names.contains(&surplus) {
            fs::remove_file(to.join(&surplus))
                .with_context(|| format!("cannot remove {}", surplus.display()))?;
        }
    }
    Ok(())
}

/// Returns the files below a folder, relative to `root`.
fn files(root: &Path, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            found.extend(files(root, &name)?);
        } else {
            found.push(name);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_removes_surplus_and_keeps_times_of_unchanged_files() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (from.path(), to.path());
        fs::create_dir(from.join("src")).unwrap();
        for name in ["same", "src/changed", "src/ignored"] {
            fs::write(from.join(name), name).unwrap();
        }
        let names: BTreeSet<PathBuf> = ["same", "src/changed"].map(PathBuf::from).into();
        mirror(from, to, &names).unwrap();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let same = fs::File::options().append(true).open(to.join("same")).unwrap();
        same.set_modified(long_ago).unwrap();
        fs::write(to.join("src/changed"), "edited").unwrap();
        fs::write(to.join("src/surplus"), "").unwrap();
        mirror(from, to, &names).unwrap();
        assert_eq!(fs::read_to_string(to.join("src/changed")).unwrap(), "src/changed");
        let mut there = files(to, Path::new("")).unwrap();
        there.sort();
        assert_eq!(there, [PathBuf::from("same"), PathBuf::from("src/changed")]);
        assert_eq!(
            fs::metadata(to.join("same")).unwrap().modified().unwrap(),
            long_ago
        );
    }

    #[test]
    fn edit_moves_lines_without_changing_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lib.rs");
        fs::write(&file, "//! What it is.\nfn main() {}\n").unwrap();
        edit(&file).unwrap();
        let edited = fs::read_to_string(&file).unwrap();
        assert!(edited.starts_with('\n'), "{edited:?}");
        assert_eq!(edited.trim_start(), "//! What it is.\nfn main() {}\n");
    }
}
