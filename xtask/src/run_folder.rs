//! The folder of a run, `target/e2e/RUN/`, and who owns it.
//!
//! `owner.json` in it says which process made the run and what it made outside of the folder:
//! `{"run","pid","start_time","provider":"kind|local|cluster","stack","cluster","state":"running|kept|finished",
//! "created"}`. A copy lies in the user's cache (`kubernaut-e2e/runs/RUN.json`, with the folder's path), so that a
//! cluster whose folder was deleted, or that another checkout made, still has an owner who is alive or not.
//!
//! | state | owner alive | owner dead |
//! |---|---|---|
//! | running | a live run: nobody else's business | abandoned: `gc` removes all of it |
//! | kept | – | kept on purpose until `down`, or `gc --kept` |
//! | finished | – | nothing is left but the reports; `gc` removes old ones |

mod index;

use std::fmt;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use subprocess::Process;

use self::index::entry_path;
pub(crate) use self::index::{Entry, forget, indexed};

/// The file in a run's folder that says whose it is.
const OWNER: &str = "owner.json";

/// Folders of a run that its stack needs while it stands: copies of the programs, 200 MB a run, what images are made of,
/// and passwords.
const OF_THE_STACK: [&str; 4] = ["programs", "images", "sources", "secrets"];

/// Where a run puts the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    /// A kind cluster in podman on this machine
    Kind,
    /// Processes on this machine, with the embedded Kubernetes API
    Local,
    /// A namespace of an existing cluster
    Cluster,
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kind => "kind",
            Self::Local => "local",
            Self::Cluster => "cluster",
        })
    }
}

/// What is meant to become of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Its owner works on it. If the owner is dead, the run is abandoned.
    Running,
    /// Left standing on purpose.
    Kept,
    /// All that it made outside of its folder has been removed.
    Finished,
}

/// Whose a run is and what it made outside of its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The run's id, unique on this machine.
    pub(crate) run: String,
    /// The process that works on it.
    #[serde(flatten)]
    pub(crate) process: Process,
    /// Where the stack is.
    pub(crate) provider: Provider,
    /// The stack's name.
    pub(crate) stack: String,
    /// The kind cluster, or for the cluster provider the context and namespace as `CONTEXT/NAMESPACE`.
    pub(crate) cluster: Option<String>,
    /// What is meant to become of it.
    pub(crate) state: State,
    /// When it was made, in seconds since 1970.
    pub(crate) created: u64,
}

impl Owner {
    /// Whether nobody works on it any more though it was not finished.
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

/// The name of a run's kind cluster.
pub(crate) fn cluster_name(stack: &str, run: &str) -> String {
    format!("{stack}-e2e-{run}")
}

/// The container that is a cluster's only node.
pub(crate) fn node_of(cluster: &str) -> String {
    format!("{cluster}-control-plane")
}

/// The folder in which cargo builds this workspace.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => workspace().join(folder),
        None => workspace().join("target"),
    }
}

/// The root of the workspace that we are called in, wherever this program was compiled: the nearest folder above
/// with a lock file. Outside of any, the one that it was compiled from.
pub(crate) fn workspace() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let root = here
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file());
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.or_else(|| xtask.parent()).unwrap_or(xtask).to_owned()
}

/// Goes on as if called in the workspace that a stack file belongs to, as `make --directory` does: its packages are
/// built, and its target folder has the run. A file outside of any workspace belongs to the one that we are in.
pub(crate) fn enter_workspace_of(stack_file: &Path) -> anyhow::Result<()> {
    let root = stack_file
        .ancestors()
        .skip(1)
        .find(|folder| folder.join("Cargo.lock").is_file());
    match root {
        Some(root) if root != workspace() => {
            std::env::set_current_dir(root).with_context(|| format!("enter {}", root.display()))
        }
        _ => Ok(()),
    }
}

/// The folder that holds the runs' folders.
pub(crate) fn runs() -> PathBuf {
    target().join("e2e")
}

/// The folder with a copy of each run's owner, of all checkouts of this user.
pub(crate) fn index() -> PathBuf {
    embedded::user_cache().join("kubernaut-e2e").join("runs")
}

/// The folder with a file for each port that a run chose: who has its lock has the port ([`crate::ports`]).
pub(crate) fn port_locks() -> PathBuf {
    embedded::user_cache().join("kubernaut-e2e").join("ports")
}

impl RunFolder {
    /// Makes a run's folder in `runs` (see [`runs`]) for this process, with a new id.
    pub(crate) fn create(runs: &Path, index: &Path, provider: Provider, stack: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(runs).with_context(|| format!("make {}", runs.display()))?;
        let process = Process::current().context("find out when this process started")?;
        let created = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        for _ in 0..100 {
            let run = new_id();
            let path = runs.join(&run);
            match fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error).with_context(|| format!("make {}", path.display())),
            }
            let path = std::path::absolute(&path)?;
            let cluster = (provider == Provider::Kind).then(|| cluster_name(stack, &run));
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
            "no free name for a run in {}; remove old ones with `cargo xtask gc`",
            runs.display()
        )
    }

    /// The run in the folder at `path`.
    pub(crate) fn open(path: &Path, index: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)?;
        let owner = read_owner(&path.join(OWNER))
            .with_context(|| format!("{} is no run's folder (see target/e2e/)", path.display()))?;
        Ok(Self {
            path,
            owner,
            index: index.to_owned(),
        })
    }

    /// The runs in `runs`, oldest first. A folder without a readable owner is not a run's.
    pub(crate) fn list(runs: &Path, index: &Path) -> Vec<Self> {
        let entries = fs::read_dir(runs).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter_map(|entry| Self::open(&entry.path(), index).ok())
            .collect();
        found.sort_by(|one, other| {
            (one.owner.created, &one.owner.run).cmp(&(other.owner.created, &other.owner.run))
        });
        found
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The run's id: six letters and digits, fit for names of clusters and folders.
    pub(crate) fn run(&self) -> &str {
        &self.owner.run
    }

    /// Whose it is.
    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The log of a task.
    pub(crate) fn log(&self, task: &str) -> PathBuf {
        // `image:gateway` is a task's name and would be a stream of a file elsewhere.
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

    /// The kubeconfig that the run and its tests use; the user's own is never touched.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// The file that tells the tests where everything is.
    pub(crate) fn stack_file(&self) -> PathBuf {
        self.path.join("stack.json")
    }

    /// The record of a long-lived process of the run.
    pub(crate) fn process(&self, name: &str) -> PathBuf {
        self.processes().join(format!("{name}.json"))
    }

    /// The folder of the records of the run's long-lived processes.
    pub(crate) fn processes(&self) -> PathBuf {
        self.path.join("processes")
    }

    /// Takes it over for this process: another round on a kept run.
    pub(crate) fn take_over(&mut self) -> anyhow::Result<()> {
        if self.owner.state == State::Running && self.owner.process.is_alive() {
            let Owner { run, process, .. } = &self.owner;
            bail!(
                "run {run} is in use by process {}; wait for it, or end it with Ctrl-C",
                process.pid
            );
        }
        self.owner.process = Process::current().context("find out when this process started")?;
        self.set_state(State::Running)
    }

    /// Notes where its stack is, in a cluster that is not its own.
    pub(crate) fn set_cluster(&mut self, cluster: String) -> anyhow::Result<()> {
        self.owner.cluster = Some(cluster);
        self.write()
    }

    /// Notes what is meant to become of it.
    pub(crate) fn set_state(&mut self, state: State) -> anyhow::Result<()> {
        self.owner.state = state;
        self.write()
    }

    /// Notes that nothing of the run stands any more, and removes what only its stack needed. What tells of the run
    /// stays.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        self.set_state(State::Finished)?;
        for name in OF_THE_STACK {
            let folder = self.path.join(name);
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", folder.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes it, for a run with nothing left outside of it.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.path).with_context(|| format!("remove {}", self.path.display()))?;
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

/// The run of this name, or the youngest for `last`.
pub(crate) fn find(run: &str) -> anyhow::Result<RunFolder> {
    let mut all = RunFolder::list(&runs(), &index());
    if run == "last" {
        return all
            .pop()
            .with_context(|| format!("there is no run in {}", runs().display()));
    }
    let known: Vec<String> = all.iter().map(|folder| folder.run().to_owned()).collect();
    let found = all.into_iter().find(|folder| folder.run() == run);
    found.with_context(|| format!("there is no run {run}; there are: {}", known.join(", ")))
}

fn read_owner(path: &Path) -> anyhow::Result<Owner> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))
}

fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_vec_pretty(value)?;
    subprocess::write_atomically(path, &json).with_context(|| format!("write {}", path.display()))
}

/// Six letters and digits that are not taken for one another. The standard library's hash keys are its only
/// source of randomness, and all that is asked of an id is that two runs of a machine don't share it.
fn new_id() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = RandomState::new().hash_one((std::process::id(), SystemTime::now()));
    // A Kubernetes name and a cluster's begin with a letter.
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
