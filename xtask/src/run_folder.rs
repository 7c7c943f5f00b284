//! The folder of a run, `target/e2e/RUN/`, and its owner.
//!
//! Its `owner.json` names the process that owns the run and what the run created outside of the folder:
//! `{"run","pid","start_time","provider":"kind|local|cluster","stack","cluster","state":"running|kept|finished",
//! "created"}`. A copy is in the user's cache (`kubernaut-e2e/runs/RUN.json`, with the folder's path), so that the owner
//! of a cluster is known even if the run's folder was deleted or belongs to another checkout.
//!
//! | state | owner alive | owner dead |
//! |---|---|---|
//! | running | a live run | abandoned: `gc` removes all of it |
//! | kept | used by another round | kept until `down`, or `gc --kept` |
//! | finished | – | only the reports are left; `gc` removes old ones |

mod index;

use std::fmt;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use subprocess::{Process, Record, RecordError};

use self::index::entry_path;
pub(crate) use self::index::{Entry, forget, indexed};

/// Folder of the records of the run's long-lived processes.
const PROCESSES: &str = "processes";

/// File with the run's owner.
const OWNER: &str = "owner.json";

/// Folders that only a running stack needs: copies of the programs (200 MB per run), contexts of images, passwords.
const STACK_FOLDERS: [&str; 4] = ["programs", "images", "sources", "secrets"];

/// Name of a provider: where a run puts the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProviderName {
    /// A kind cluster in podman on this machine
    Kind,
    /// Processes on this machine, with the embedded Kubernetes API
    Local,
    /// A namespace of an existing cluster
    Cluster,
}

impl fmt::Display for ProviderName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kind => "kind",
            Self::Local => "local",
            Self::Cluster => "cluster",
        })
    }
}

/// Intended state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Its owner executes it. If the owner is dead, the run is abandoned.
    Running,
    /// Kept on purpose.
    Kept,
    /// Everything outside of its folder has been removed.
    Finished,
}

/// The owner of a run, and what the run created outside of its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// Run id, unique on this machine.
    pub(crate) run: String,
    /// Process that executes it.
    #[serde(flatten)]
    pub(crate) process: Process,
    /// Provider of the stack.
    pub(crate) provider: ProviderName,
    /// Name of the stack.
    pub(crate) stack: String,
    /// Name of the kind cluster, or `CONTEXT/NAMESPACE` on the provider `cluster`.
    pub(crate) cluster: Option<String>,
    /// Intended state.
    pub(crate) state: State,
    /// Time of creation, in milliseconds since 1970. Several runs may be created in a second.
    pub(crate) created: u64,
}

impl Owner {
    /// Whether its process died before the run was finished.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.state == State::Running && !self.process.is_alive()
    }
}

/// A run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunFolder {
    path: PathBuf,
    owner: Owner,
    index: PathBuf,
}

/// Returns the name of a run's kind cluster.
pub(crate) fn cluster_name(stack: &str, run: &str) -> String {
    format!("{stack}-e2e-{run}")
}

/// Returns the container of a cluster's only node.
pub(crate) fn node_of(cluster: &str) -> String {
    format!("{cluster}-control-plane")
}

/// Returns the target folder of this workspace.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => workspace().join(folder),
        None => workspace().join("target"),
    }
}

/// The stack file of a repository, from its root.
const STACK: &str = "deploy/stack.toml";

/// Returns the nearest ancestor of a path that has a file.
fn ancestor_with(path: &Path, file: &str) -> Option<PathBuf> {
    let mut ancestors = path.ancestors();
    ancestors
        .find(|folder| folder.join(file).is_file())
        .map(Path::to_owned)
}

/// Returns the root of the repository of the current folder: the nearest ancestor with a lock file of Cargo, or else with
/// a stack file, or else the current folder itself.
pub(crate) fn workspace() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let root = ancestor_with(&here, "Cargo.lock").or_else(|| ancestor_with(&here, STACK));
    root.unwrap_or(here)
}

/// Returns the absolute path of the stack file that is named, or else of the nearest `deploy/stack.toml` upwards.
pub(crate) fn stack_file(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(file) = named {
        return Ok(std::path::absolute(file)?);
    }
    let here = std::env::current_dir().context("cannot find the current folder")?;
    let root = ancestor_with(&here, STACK).with_context(|| {
        format!(
            "no {STACK} in {} or above it; change to the repository to test, or name its stack file with --stack FILE",
            here.display()
        )
    })?;
    Ok(root.join(STACK))
}

/// Changes the current folder to the root of a stack file's repository, like `make --directory`, so that its packages are
/// built in its target folder. A file outside of any workspace of Cargo belongs to the current one, or else to the folder
/// that it is in, beside `deploy`.
pub(crate) fn enter_workspace_of(stack_file: &Path) -> anyhow::Result<()> {
    let here = std::env::current_dir().unwrap_or_default();
    let folder = stack_file.parent().unwrap_or(Path::new("/"));
    let beside = if stack_file.ends_with(STACK) {
        folder.parent()
    } else {
        None
    };
    let root = ancestor_with(folder, "Cargo.lock")
        .or_else(|| ancestor_with(&here, "Cargo.lock"))
        .unwrap_or_else(|| beside.unwrap_or(folder).to_owned());
    if root == workspace() {
        return Ok(());
    }
    std::env::set_current_dir(&root).with_context(|| format!("cannot enter {}", root.display()))
}

/// Returns the parent of the runs' folders.
pub(crate) fn runs() -> PathBuf {
    target().join("e2e")
}

/// Returns the folder with a copy of each run's owner, for all checkouts of this user.
pub(crate) fn index() -> PathBuf {
    embedded::user_cache().join("kubernaut-e2e").join("runs")
}

/// Returns the lock file of collections by all checkouts of this user; creates its folder.
pub(crate) fn gc_lock() -> io::Result<PathBuf> {
    let folder = embedded::user_cache().join("kubernaut-e2e");
    fs::create_dir_all(&folder)?;
    Ok(folder.join("gc.lock"))
}

/// Returns the folder of the lock files of ports ([`crate::ports`]).
pub(crate) fn port_locks() -> PathBuf {
    embedded::user_cache().join("kubernaut-e2e").join("ports")
}

/// Returns the paths in a folder; none if it cannot be read.
pub(crate) fn paths_in(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// Returns the names of the files in a folder without their extensions, sorted.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = paths_in(folder)
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Returns the records of the long-lived processes of a run in its folder `run`, as far as they can be read.
pub(crate) fn records_of(run: &Path) -> impl Iterator<Item = (PathBuf, Result<Record, RecordError>)> + use<> {
    let files =
        paths_in(&run.join(PROCESSES)).filter(|path| path.extension().is_some_and(|end| end == "json"));
    files.map(|path| {
        let record = Record::read(&path);
        (path, record)
    })
}

impl RunFolder {
    /// Creates a run's folder in `runs` (see [`runs`]), owned by this process, with a new id.
    pub(crate) fn create(
        runs: &Path,
        index: &Path,
        provider: ProviderName,
        stack: &str,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(runs).with_context(|| format!("cannot create {}", runs.display()))?;
        let process = Process::current().context("cannot read the start time of this process")?;
        let created = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        let created = u64::try_from(created).unwrap_or(u64::MAX);
        for _ in 0..100 {
            let run = new_id();
            let path = runs.join(&run);
            match fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot create {}", path.display())),
            }
            let path = std::path::absolute(&path)?;
            let cluster = (provider == ProviderName::Kind).then(|| cluster_name(stack, &run));
            let stack = stack.to_owned();
            let owner = Owner {
                run,
                process,
                provider,
                stack,
                cluster,
                state: State::Running,
                created,
            };
            let folder = Self {
                path,
                owner,
                index: index.to_owned(),
            };
            folder.write()?;
            return Ok(folder);
        }
        bail!(
            "found no unused run id in {} (tried 100); remove old runs: {} gc",
            runs.display(),
            crate::called_as()
        )
    }

    /// Opens the run in the folder at `path`.
    pub(crate) fn open(path: &Path, index: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)?;
        let owner = read_owner(&path.join(OWNER))
            .with_context(|| format!("not the folder of a run: {}", path.display()))?;
        Ok(Self {
            path,
            owner,
            index: index.to_owned(),
        })
    }

    /// Returns the runs in `runs`, oldest first. Folders without a readable owner are ignored.
    pub(crate) fn list(runs: &Path, index: &Path) -> Vec<Self> {
        let mut found: Vec<_> = paths_in(runs)
            .filter_map(|path| Self::open(&path, index).ok())
            .collect();
        found.sort_by(|one, other| {
            (one.owner.created, &one.owner.run).cmp(&(other.owner.created, &other.owner.run))
        });
        found
    }

    /// Path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Run id: six letters and digits, valid in names of clusters and folders.
    pub(crate) fn run(&self) -> &str {
        &self.owner.run
    }

    /// Owner of the run.
    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Path of a task's log.
    pub(crate) fn log(&self, task: &str) -> PathBuf {
        // `image:gateway` is the name of a task, but not a portable name of a file.
        let name: String = task
            .chars()
            .map(|letter| {
                if letter.is_alphanumeric() || "-_.".contains(letter) {
                    letter
                } else {
                    '-'
                }
            })
            .collect();
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// Kubeconfig of the run and its tests; the user's own is not changed.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// File with all addresses for the tests.
    pub(crate) fn stack_file(&self) -> PathBuf {
        self.path.join("stack.json")
    }

    /// Record of a long-lived process of the run.
    pub(crate) fn process(&self, name: &str) -> PathBuf {
        self.processes().join(format!("{name}.json"))
    }

    /// Folder of the records of the run's long-lived processes.
    pub(crate) fn processes(&self) -> PathBuf {
        self.path.join(PROCESSES)
    }

    /// Makes this process the owner, for another round of a kept run. It stays kept, however this process ends.
    pub(crate) fn take_over(&mut self) -> anyhow::Result<()> {
        if self.owner.state != State::Finished && self.owner.process.is_alive() {
            let Owner { run, process, .. } = &self.owner;
            bail!(
                "run {run} is in use by process {}; wait for it, or stop it by Ctrl-C",
                process.pid
            );
        }
        self.owner.process = Process::current().context("cannot read the start time of this process")?;
        self.write()
    }

    /// Records the cluster and namespace of its stack.
    pub(crate) fn set_cluster(&mut self, cluster: String) -> anyhow::Result<()> {
        self.owner.cluster = Some(cluster);
        self.write()
    }

    /// Records the intended state.
    pub(crate) fn set_state(&mut self, state: State) -> anyhow::Result<()> {
        self.owner.state = state;
        self.write()
    }

    /// Records that the stack was removed, and deletes the folders that only the stack needed. Reports and logs stay.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        self.set_state(State::Finished)?;
        for name in STACK_FOLDERS {
            let folder = self.path.join(name);
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the folder of a run that has nothing outside of it.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))?;
        forget(&self.index, &self.owner.run)
    }

    fn write(&self) -> anyhow::Result<()> {
        let entry = Entry {
            folder: self.path.clone(),
            owner: self.owner.clone(),
        };
        write_json(&self.path.join(OWNER), &self.owner)?;
        if self.owner.state == State::Finished {
            return forget(&self.index, &self.owner.run);
        }
        write_json(&entry_path(&self.index, &self.owner.run), &entry)
    }
}

/// Returns the run of this id, or the newest one for `last`.
pub(crate) fn find(run: &str) -> anyhow::Result<RunFolder> {
    let mut all = RunFolder::list(&runs(), &index());
    if run == "last" {
        return all
            .pop()
            .with_context(|| format!("no runs in {}", runs().display()));
    }
    let known: Vec<String> = all.iter().map(|folder| folder.run().to_owned()).collect();
    let found = all.into_iter().find(|folder| folder.run() == run);
    found.with_context(|| format!("unknown run {run}; known runs: {}", known.join(", ")))
}

fn read_owner(path: &Path) -> anyhow::Result<Owner> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))
}

fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_vec_pretty(value)?;
    subprocess::write_atomically(path, &json).with_context(|| format!("cannot write {}", path.display()))
}

/// Returns six letters and digits that are hard to confuse. The keys of the standard library's hasher are random enough:
/// ids only have to differ on one machine.
fn new_id() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = RandomState::new().hash_one((std::process::id(), SystemTime::now()));
    // Names of clusters and Kubernetes objects start with a letter.
    let mut id = String::new();
    while id.len() < 6 {
        let choices = if id.is_empty() { 24 } else { 32 };
        id.extend(
            LETTERS
                .get((random % choices) as usize)
                .map(|letter| char::from(*letter)),
        );
        random /= 32;
    }
    id
}

#[cfg(test)]
mod tests;
