//! What is left in a file of a process that runs for long, so that another process can find it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::process::{Process, signal_group, signal_process};
use crate::tags;

/// Why a record could not be written, read or followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file could not be read or written.
    #[error("record {path}: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The file is not a record.
    #[error("record {path} is not one that this version wrote: {error}; remove it")]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// A part of the command is not UTF-8, which JSON can't hold.
    #[error("{0:?} is not UTF-8, so it can't be recorded")]
    NotText(std::ffi::OsString),
    /// The process ended before it could be recorded.
    #[error("process {0} ended before it could be recorded")]
    Gone(u32),
    /// It was asked to end, then killed, and is still there.
    #[error(
        "process {0} does not end, not even killed; it waits for the kernel (see `ps -o stat,wchan -p {0}`)"
    )]
    Unkillable(u32),
    /// It runs, so it can't be started again.
    #[error("{name} runs already as process {pid}")]
    Running {
        /// Its name.
        name: String,
        /// Its process number.
        pid: u32,
    },
    /// It could not be started again.
    #[error(transparent)]
    Start(#[from] Failure),
}

/// A long-lived process: enough to find it, stop it, and start it again the same way.
///
/// As JSON: `{"name","pid","start_time","pgid","argv","env","cwd","log","user","stop_signal"}`. `env` has what the
/// command sets (a string) or removes (null); the rest is inherited from whoever starts it. The file is readable by
/// its owner only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What it is, for people.
    pub name: String,
    /// The group's leader.
    #[serde(flatten)]
    pub process: Process,
    /// Its process group.
    pub pgid: u32,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// What the command sets (or removes: `None`) in the environment.
    pub env: BTreeMap<String, Option<String>>,
    /// Its working folder.
    pub cwd: PathBuf,
    /// The log that it appends to.
    pub log: Option<PathBuf>,
    /// User and group that it runs as, if not the caller's.
    pub user: Option<(u32, u32)>,
    /// The number of the signal that asks its leader to end; SIGTERM to the group if absent.
    pub stop_signal: Option<i32>,
}

impl Record {
    pub(crate) fn of(
        pid: u32,
        name: &str,
        command: &process::Command,
        log: Option<PathBuf>,
        user: Option<(u32, u32)>,
        stop_signal: Option<Signal>,
    ) -> Result<Self, RecordError> {
        let text = |word: &std::ffi::OsStr| {
            word.to_str()
                .map(ToOwned::to_owned)
                .ok_or_else(|| RecordError::NotText(word.to_owned()))
        };
        let file = |error| RecordError::File {
            path: PathBuf::from("."),
            error,
        };
        let cwd = match command.get_current_dir() {
            Some(folder) => std::path::absolute(folder).map_err(file)?,
            None => std::env::current_dir().map_err(file)?,
        };
        let mut argv = vec![text(command.get_program())?];
        for argument in command.get_args() {
            argv.push(text(argument)?);
        }
        let mut env = BTreeMap::new();
        for (key, value) in command.get_envs() {
            if key != tags::RECORD && key != tags::OWNER {
                env.insert(text(key)?, value.map(text).transpose()?);
            }
        }
        Ok(Self {
            name: name.to_owned(),
            process: Process::find(pid).ok_or(RecordError::Gone(pid))?,
            pgid: pid,
            argv,
            env,
            cwd,
            log: log.map(std::path::absolute).transpose().map_err(file)?,
            user,
            stop_signal: stop_signal.map(Signal::as_raw),
        })
    }

    /// Writes it to `path` in one step: a reader sees the old or the new one whole.
    ///
    /// # Errors
    /// [`RecordError::File`].
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        let file = |error| RecordError::File {
            path: path.to_owned(),
            error,
        };
        let json = serde_json::to_vec_pretty(self).map_err(|error| RecordError::Format {
            path: path.to_owned(),
            error,
        })?;
        write_atomically(path, &json).map_err(file)
    }

    /// Reads the record at `path`.
    ///
    /// # Errors
    /// [`RecordError::File`], [`RecordError::Format`].
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let text = fs::read(path).map_err(|error| RecordError::File {
            path: path.to_owned(),
            error,
        })?;
        serde_json::from_slice(&text).map_err(|error| RecordError::Format {
            path: path.to_owned(),
            error,
        })
    }

    /// Whether the process still runs: this one, not another that has its number now. One that has ended and was
    /// not reaped (a zombie) does not run.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// Asks it to end, kills its group when `grace` is over, and returns when it is gone. Nothing happens to one
    /// that is gone already.
    ///
    /// # Errors
    /// [`RecordError::Unkillable`].
    pub fn stop(&self, grace: Duration) -> Result<(), RecordError> {
        if !self.is_alive() {
            return Ok(());
        }
        match self.stop_signal.and_then(Signal::from_named_raw) {
            Some(signal) => signal_process(self.process.pid, signal),
            None => signal_group(self.pgid, Signal::TERM),
        }
        // Whether it went in time or not: its group goes with it.
        let _in_time = self.process.wait_for_exit(grace);
        self.finish_group()
    }

    /// Kills its group and returns when it is gone.
    ///
    /// # Errors
    /// [`RecordError::Unkillable`].
    pub fn kill(&self) -> Result<(), RecordError> {
        if !self.is_alive() {
            return Ok(());
        }
        self.finish_group()
    }

    fn finish_group(&self) -> Result<(), RecordError> {
        const LONGEST_DEATH: Duration = Duration::from_secs(10);
        signal_group(self.pgid, Signal::KILL);
        if self.process.wait_for_exit(LONGEST_DEATH) {
            return Ok(());
        }
        Err(RecordError::Unkillable(self.process.pid))
    }
}

/// Writes a small file in one step: a reader sees the old or the new one whole. The folder is made; the file is
/// readable by its owner only.
///
/// # Errors
/// The system's own: no space, no permission.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut unfinished = tempfile::NamedTempFile::new_in(folder)?;
    unfinished.write_all(bytes)?;
    unfinished.persist(path)?;
    Ok(())
}
