//! Options of all servers.

use std::path::PathBuf;

use crate::server::ChoosePort;

/// Options of a server; `S` are those of its kind.
#[derive(Debug, Clone)]
#[must_use = "call start()"]
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
    /// Sets the port on 127.0.0.1. Default: a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Sets the path of the [`subprocess::Record`] of its process. Default: in the instance's folder.
    pub fn record(mut self, path: impl Into<PathBuf>) -> Self {
        self.record = Some(path.into());
        self
    }

    /// Sets the path of its log. Default: in the instance's folder.
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Makes it part of a run: if it is kept, it is abandoned only when this folder is gone.
    pub fn belongs_to(mut self, run: impl Into<PathBuf>) -> Self {
        self.belongs_to = Some(run.into());
        self
    }
}
