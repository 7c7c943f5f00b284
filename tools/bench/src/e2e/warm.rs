//! The warm loop: one service is edited, and the same command brings the stack that was kept up to date.
//!
//! It runs in a copy of the workspace with a target folder of its own, so that nobody's sources are changed. In a target
//! folder that two workspaces share, cargo takes what was built from the one for what the other has.

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
use crate::workspace;
use subprocess::eprint_line;

/// What is edited, and the service that it belongs to.
const SERVICE: &str = "gateway";
/// It has code of its own: only where lines of code move is the program another one.
const SOURCE: &str = "gateway/src/main.rs";

/// Removing a cluster takes seconds.
const LONGEST_REMOVAL: Duration = Duration::from_secs(300);

pub(super) fn measure(provider: ProviderName, rounds: usize, record: &mut Record) -> anyhow::Result<()> {
    if record.runs(WARM).len() >= rounds {
        return Ok(());
    }
    let copy = Workspace::copied()?;
    if let Some(run) = copy.kept(provider).first() {
        bail!("run {run} is kept and would be changed by the warm loop: `cargo xtask down {run}` removes it");
    }
    eprint_line("a run that is kept");
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
            is_renewed(&run),
            "{SERVICE} was not renewed though {SOURCE} was edited: this was no warm loop (report: {})",
            copy.runs()
                .join(&run.document.run.id)
                .join("report.json")
                .display()
        );
        record.add_run(WARM, run)?;
    }
    Ok(())
}

/// Where there are images, the service's was built anew; elsewhere the service was started anew.
pub(super) fn is_renewed(run: &Measured) -> bool {
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

/// A copy of the workspace, and what is built from it.
struct Workspace {
    sources: PathBuf,
    target: PathBuf,
}

impl Workspace {
    fn copied() -> anyhow::Result<Self> {
        let bench = std::path::absolute(workspace::target().join("bench"))?;
        let (sources, target) = (bench.join("workspace"), bench.join("target"));
        copy(&workspace::root(), &sources)?;
        Ok(Self { sources, target })
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

    /// A round: the first one makes what the others find.
    fn run(&self, provider: ProviderName) -> anyhow::Result<Measured> {
        let mut command = run::e2e(provider)?;
        command.arg("--keep");
        run::read_from(self.inside(command), "a round of the warm loop")
    }

    fn down(&self, run: &str) -> anyhow::Result<()> {
        let mut command = run::xtask()?;
        command.args(["down", run]);
        let command = subprocess::Command::new(self.inside(command)).name(format!("remove run {run}"));
        command.deadline(LONGEST_REMOVAL).run(&Cancel::never())?;
        Ok(())
    }

    fn inside(&self, mut command: Command) -> Command {
        command
            .current_dir(&self.sources)
            .env("CARGO_TARGET_DIR", &self.target);
        command
    }
}

/// Moves every line of a file down, by a number that is not soon used again: the places that the program knows of
/// itself change, and so does its hash, but nothing that it does.
fn edit(file: &Path) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let text = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    let moved = "\n".repeat((now.as_secs() % 65_536) as usize + 1) + text.trim_start();
    fs::write(file, moved).with_context(|| format!("can't write {}", file.display()))
}

/// Makes `to` the same as the workspace `from`, as far as git knows that. What is the same already stays untouched:
/// cargo goes by the times of the files.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    list.current_dir(from);
    let list = subprocess::Command::new(list).name("list the sources");
    let output = list.deadline(Duration::from_secs(60)).capture(&Cancel::never())?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from);
    // What was deleted and not yet committed is listed all the same.
    mirror(
        from,
        to,
        &names.filter(|name| from.join(name).is_file()).collect(),
    )
}

fn mirror(from: &Path, to: &Path, names: &BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for name in names {
        let (old, new) = (from.join(name), to.join(name));
        let text = fs::read(&old).with_context(|| format!("can't read {}", old.display()))?;
        if fs::read(&new).is_ok_and(|there| there == text) {
            continue;
        }
        fs::create_dir_all(new.parent().unwrap_or(to))?;
        fs::copy(&old, &new).with_context(|| format!("can't write {}", new.display()))?;
    }
    for surplus in files(to, Path::new(""))? {
        if !names.contains(&surplus) {
            fs::remove_file(to.join(&surplus))
                .with_context(|| format!("can't remove {}", surplus.display()))?;
        }
    }
    Ok(())
}

/// The files below a folder, by their names in it.
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
    fn a_copy_becomes_the_same_and_what_is_the_same_stays_untouched() {
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
    fn an_edit_moves_the_lines_and_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lib.rs");
        fs::write(&file, "//! What it is.\nfn main() {}\n").unwrap();
        edit(&file).unwrap();
        let edited = fs::read_to_string(&file).unwrap();
        assert!(edited.starts_with('\n'), "{edited:?}");
        assert_eq!(edited.trim_start(), "//! What it is.\nfn main() {}\n");
    }
}
