//! Records of long-running processes in files, by which other processes find them.

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

/// Errors of records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file could not be read or written.
    #[error("cannot read or write record {path}: {error}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// The file is not a record.
    #[error("record {path} has an unknown format: {error}; remove it")]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// Error of the parser.
        error: serde_json::Error,
    },
    /// The command contains text that is not UTF-8, which JSON cannot represent.
    #[error("cannot record a command with {0:?}, which is not UTF-8")]
    NotText(std::ffi::OsString),
    /// The process exited before it could be recorded.
    #[error("process {0} exited before it could be recorded")]
    Gone(u32),
    /// The process still exists after SIGKILL.
    #[error("process {0} still exists after SIGKILL: it waits in the kernel (see `ps -o stat,wchan -p {0}`)")]
    Unkillable(u32),
    /// The process to start is running.
    #[error("{name} is already running as process {pid}")]
    Running {
        /// Name of the process.
        name: String,
        /// Its process id.
        pid: u32,
    },
    /// The process could not be started again.
    #[error(transparent)]
    Start(#[from] Failure),
}

/// A long-running process, with all that is needed to find it, stop it, and start it again the same way.
///
/// As JSON: `{"name","pid","start_time","pgid","argv","env","cwd","log","user","stop_signal"}`. `env` has the
/// variables that the command sets (a string) or removes (null); the rest is inherited. Only its owner can read the
/// file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Name of the process.
    pub name: String,
    /// Leader of the process group.
    #[serde(flatten)]
    pub process: Process,
    /// Id of the process group.
    pub pgid: u32,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment variables that the command sets, or removes (`None`).
    pub env: BTreeMap<String, Option<String>>,
    /// Working folder.
    pub cwd: PathBuf,
    /// Path of the log.
    pub log: Option<PathBuf>,
    /// User and group, if not those of this process.
    pub user: Option<(u32, u32)>,
    /// Number of the stop signal for the leader. Default: SIGTERM to the group.
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

    /// Writes the record to `path` atomically.
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

    /// Whether this very process still runs: neither a zombie nor another process with the same id.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// Sends the stop signal, kills the group when `grace` is over, and returns after the exit. Does nothing if the
    /// process has exited already.
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
        // In time or not, the rest of its group is killed.
        let _in_time = self.process.wait_for_exit(grace);
        self.finish_group()
    }

    /// Kills the group and returns after the exit.
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
        const MAX_WAIT: Duration = Duration::from_secs(10);
        signal_group(self.pgid, Signal::KILL);
        if self.process.wait_for_exit(MAX_WAIT) {
            return Ok(());
        }
        Err(RecordError::Unkillable(self.process.pid))
    }
}

/// Writes a file atomically: a reader sees the old or the new content as a whole. Missing folders are created; only the
/// owner can read the file.
///
/// # Errors
/// Errors of the system.
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
