//! What can be asked of every server before it starts.

use std::path::PathBuf;

use crate::server::ChoosePort;

/// A server about to be started; `S` is what only this kind has.
#[derive(Debug, Clone)]
#[must_use = "it is started by start()"]
pub struct Builder<S> {
    pub(crate) port: Option<u16>,
    pub(crate) record: Option<PathBuf>,
    pub(crate) log: Option<PathBuf>,
    pub(crate) belongs_to: Option<PathBuf>,
    /// Chooses the port if none is given; tests choose ports that are taken.
    pub(crate) choose_port: ChoosePort,
    pub(crate) own: S,
}

impl<S: Default> Default for Builder<S> {
    fn default() -> Self {
        Self {
            port: None,
            record: None,
            log: None,
            belongs_to: None,
            choose_port: subprocess::free_port,
            own: S::default(),
        }
    }
}

impl<S> Builder<S> {
    /// Listens on this port of 127.0.0.1; on a free one if not given.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Writes the record of its process here (see [`subprocess::Record`]); into the instance's folder if not given.
    pub fn record(mut self, path: impl Into<PathBuf>) -> Self {
        self.record = Some(path.into());
        self
    }

    /// Appends what it prints to this file; into the instance's folder if not given.
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Makes it part of a run: once kept, it counts as abandoned only when this folder is gone.
    pub fn belongs_to(mut self, run: impl Into<PathBuf>) -> Self {
        self.belongs_to = Some(run.into());
        self
    }
}
