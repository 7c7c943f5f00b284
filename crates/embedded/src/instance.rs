//! Folders of servers and their owners.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use subprocess::{Process, Record};

use crate::folders::{self, create_open, instance_roots, make_open};
use crate::user::User;

const FILE: &str = "instance.json";

/// Process names of the servers.
const PROGRAMS: [&str; 4] = ["postgres", "redis-server", "valkey-server", "kube-embedded"];

/// Folder of a server, with its owner and its run.
///
/// On disk `instance.json`: `{"kind","pid","start_time","belongs_to","record"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// `postgresql`, `redis` or `kubernetes`.
    pub kind: String,
    /// Process that started it.
    #[serde(flatten)]
    pub owner: Process,
    /// Folder of its run: the server may outlive its owner as long as that folder exists.
    pub belongs_to: Option<PathBuf>,
    /// Path of the record of its process.
    pub record: PathBuf,
    #[serde(skip)]
    folder: PathBuf,
}

/// A folder that has no owner file yet.
pub(crate) struct NewInstance {
    folder: PathBuf,
    kind: &'static str,
}

impl NewInstance {
    /// Creates the folder. Until it has its file, its name has the process id of the owner.
    pub(crate) fn make(kind: &'static str, user: Option<User>) -> anyhow::Result<Self> {
        remove_abandoned();
        let root = folders::instance_root(user)?;
        for number in 0.. {
            let folder = root.join(format!("{kind}-{}-{number}", process::id()));
            match create_open(&folder) {
                Ok(()) => return Ok(Self { folder, kind }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                // Another process removed its last instance, and with it the root.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && number < 1000 => {
                    make_open(&root)?
                }
                Err(error) => return Err(error).with_context(|| format!("create {}", folder.display())),
            }
        }
        anyhow::bail!("found no free name in {}", root.display())
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
            owner: Process::current().context("read the start time of this process")?,
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
    /// Returns its folder, with the data and, by default, the log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether no process will end it: its owner is dead, and the folder of its run, if it has one, is gone.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        !self.owner.is_alive() && !self.belongs_to.as_ref().is_some_and(|folder| folder.exists())
    }

    /// Ends its processes and removes its folder.
    ///
    /// # Errors
    /// If a process does not exit or a file cannot be removed.
    pub fn remove(self) -> anyhow::Result<()> {
        self.end_processes()?;
        remove_folder(&self.folder)
    }

    fn end_processes(&self) -> anyhow::Result<()> {
        if let Ok(record) = Record::read(&self.record) {
            record.kill()?;
            let _gone_with_its_run = fs::remove_file(&self.record);
        }
        // The owner may have been killed before it recorded the server. PostgreSQL and Redis overwrite their tags, but
        // their working folder is their data folder.
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

/// Returns all instances of this user, of all processes.
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

/// Removes abandoned instances, for example of tests that were killed or interrupted: Ctrl-C ends a test program without
/// running its destructors. `cargo xtask gc` reports why one cannot be removed.
fn remove_abandoned() {
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

/// Whether the process in the name of a folder without an owner file is dead.
fn is_unowned(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let pid = name.rsplit('-').nth(1).and_then(|pid| pid.parse().ok());
    pid.is_some_and(|pid| Process::find(pid).is_none())
}

/// Removes the folder of an instance, and with the last one the folder of all instances.
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

/// Removes the few bytes of System V shared memory that a killed PostgreSQL leaves; its pid file has the id.
fn free_shared_memory(folder: &Path) {
    let Ok(text) = fs::read_to_string(folder.join("data/postmaster.pid")) else {
        return;
    };
    // Line 7: key and id of the segment.
    let Some(id) = text
        .lines()
        .nth(6)
        .and_then(|line| line.split_whitespace().nth(1))
    else {
        return;
    };
    let mut command = process::Command::new("ipcrm");
    command.args(["-m", id]);
    // Without ipcrm the bytes stay until the next boot.
    let _bytes_stay = subprocess::Command::new(command).run(&subprocess::Cancel::never());
}
