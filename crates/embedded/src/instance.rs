//! The folder of one server, and whose it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use subprocess::{Process, Record};

use crate::folders::{self, instance_roots, make_open};
use crate::user::User;

const FILE: &str = "instance.json";

/// The servers by the names that the kernel knows them by.
const PROGRAMS: [&str; 4] = ["postgres", "redis-server", "valkey-server", "kube-embedded"];

/// One server's folder: who started it, and what it belongs to.
///
/// On disk `instance.json`: `{"kind","pid","start_time","belongs_to","record"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// `postgresql`, `redis` or `kubernetes`.
    pub kind: String,
    /// The process that started it.
    #[serde(flatten)]
    pub owner: Process,
    /// The folder of the run that it belongs to: it may outlive its owner for as long as that folder exists.
    pub belongs_to: Option<PathBuf>,
    /// The record of its process.
    pub record: PathBuf,
    #[serde(skip)]
    folder: PathBuf,
}

/// The folder of an instance, made and not yet given to it.
pub(crate) struct NewInstance {
    folder: PathBuf,
    kind: &'static str,
}

impl NewInstance {
    /// Makes the folder. Its name tells its owner until it has its file.
    pub(crate) fn make(kind: &'static str, user: Option<User>) -> anyhow::Result<Self> {
        sweep();
        let root = folders::instance_root(user)?;
        for number in 0.. {
            let folder = root.join(format!("{kind}-{}-{number}", process::id()));
            match fs::create_dir(&folder) {
                Ok(()) => {
                    make_open(&folder)?;
                    return Ok(Self { folder, kind });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                // The last instance of another process took the root with it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && number < 1000 => {
                    make_open(&root)?
                }
                Err(error) => return Err(error).with_context(|| format!("make {}", folder.display())),
            }
        }
        anyhow::bail!("no free name in {}", root.display())
    }

    pub(crate) fn register(
        self,
        record: Option<PathBuf>,
        belongs_to: Option<PathBuf>,
    ) -> anyhow::Result<Instance> {
        let Self { folder, kind } = self;
        let record = record.unwrap_or_else(|| folder.join("record.json"));
        let instance = Instance {
            kind: kind.to_owned(),
            owner: Process::current().context("find out when this process started")?,
            belongs_to,
            record: std::path::absolute(record)?,
            folder,
        };
        subprocess::write_atomically(
            &instance.folder.join(FILE),
            &serde_json::to_vec_pretty(&instance)?,
        )?;
        Ok(instance)
    }
}

impl Instance {
    /// Its folder: data and, unless another was asked for, the log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether nobody will end it any more: its owner is dead, and it belongs to no run whose folder exists.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        !self.owner.is_alive() && !self.belongs_to.as_ref().is_some_and(|folder| folder.exists())
    }

    /// Ends its processes and removes its folder.
    ///
    /// # Errors
    /// If a process does not end or a file can't be removed.
    pub fn remove(self) -> anyhow::Result<()> {
        self.end_processes()?;
        remove_folder(&self.folder)
    }

    fn end_processes(&self) -> anyhow::Result<()> {
        if let Ok(record) = Record::read(&self.record) {
            record.kill()?;
            let _gone_with_its_run = fs::remove_file(&self.record);
        }
        // Started, and its starter killed before it could record it. PostgreSQL and Redis write over their marks, and
        // work in their data folders.
        let folder = fs::canonicalize(&self.folder).unwrap_or_else(|_| self.folder.clone());
        for process in Process::tagged(&self.record)
            .into_iter()
            .chain(Process::working_in(&folder, &PROGRAMS))
        {
            process.kill_group();
            let _next_time = process.wait_for_exit(Duration::from_secs(10));
        }
        Ok(())
    }
}

/// All instances of this user, of all processes.
#[must_use]
pub fn instances() -> Vec<Instance> {
    folders_of_instances()
        .filter_map(|folder| {
            let text = fs::read(folder.join(FILE)).ok()?;
            let instance: Instance = serde_json::from_slice(&text).ok()?;
            Some(Instance { folder, ..instance })
        })
        .collect()
}

fn folders_of_instances() -> impl Iterator<Item = PathBuf> {
    instance_roots()
        .into_iter()
        .filter_map(|root| fs::read_dir(root).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
}

/// Removes what tests left that were killed or interrupted: Ctrl-C ends a test program without running its drops.
/// What can't be removed now is left to `cargo xtask gc`, which says why.
fn sweep() {
    for instance in instances() {
        if instance.is_abandoned() {
            let _left_to_gc = instance.remove();
        }
    }
    for folder in folders_of_instances() {
        if !folder.join(FILE).exists() && is_unowned(&folder) {
            let _left_to_gc = remove_folder(&folder);
        }
    }
}

/// Whether the process in the name of a folder without owner's file is dead.
fn is_unowned(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let pid = name.rsplit('-').nth(1).and_then(|pid| pid.parse().ok());
    pid.is_some_and(|pid| Process::find(pid).is_none())
}

/// Removes an instance's folder, and the folder of instances with the last of them.
pub(crate) fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    free_shared_memory(folder);
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", folder.display()));
        }
        _ => {}
    }
    if let Some(root) = folder.parent() {
        let _others_are_in_it = fs::remove_dir(root);
    }
    Ok(())
}

/// A PostgreSQL that was killed leaves a few bytes of System V shared memory, named in its pid file.
fn free_shared_memory(folder: &Path) {
    let Ok(text) = fs::read_to_string(folder.join("data/postmaster.pid")) else {
        return;
    };
    // Line 7: the segment's key and number.
    let Some(id) = text
        .lines()
        .nth(6)
        .and_then(|line| line.split_whitespace().nth(1))
    else {
        return;
    };
    let mut command = process::Command::new("ipcrm");
    command.args(["-m", id]);
    // Where there is no ipcrm, the few bytes stay until the machine is started again.
    let _bytes_stay = subprocess::Command::new(command).run(&subprocess::Cancel::never());
}
