//! Restart of recorded processes.

use std::path::Path;
use std::process;

use rustix::process::Signal;

use crate::command::Command;
use crate::record::{Record, RecordError};

impl Record {
    /// Starts the process again with the same command, detached, and writes its new record to `path`.
    ///
    /// # Errors
    /// [`RecordError::Running`], [`RecordError::Start`].
    pub fn start(&self, path: &Path) -> Result<Self, RecordError> {
        if self.is_alive() {
            return Err(RecordError::Running {
                name: self.name.clone(),
                pid: self.process.pid,
            });
        }
        let mut command = process::Command::new(self.argv.first().map_or("", String::as_str));
        command.args(self.argv.iter().skip(1)).current_dir(&self.cwd);
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut command = Command::new(command).name(&self.name).record(path);
        if let Some(log) = &self.log {
            command = command.log(log);
        }
        if let Some((user, group)) = self.user {
            command = command.user(user, group);
        }
        if let Some(signal) = self.stop_signal.and_then(Signal::from_named_raw) {
            command = command.stop_signal(signal);
        }
        command.spawn()?.detach();
        Self::read(path)
    }
}
