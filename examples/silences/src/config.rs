//! Configuration: TOML, without unknown keys.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) http: Http,
    pub(crate) postgresql: Postgresql,
}

/// Listen addresses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) api: SocketAddr,
    pub(crate) health: SocketAddr,
}

/// Connection to the database.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Postgresql {
    /// `HOST:PORT`.
    pub(crate) address: String,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) password_file: PathBuf,
}

impl Config {
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("invalid configuration {}", file.display()))
    }
}
