//! Connections to PostgreSQL and Redis.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Tls {
    Off,
    Verify,
}

/// The database.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub(crate) struct Postgresql {
    /// HOST:PORT.
    pub(crate) address: String,
    /// The database.
    pub(crate) database: String,
    /// The role; it owns the tables.
    pub(crate) user: String,
    /// File with the role's password.
    pub(crate) password_file: Option<PathBuf>,
    /// verify or off; unset: verify in production, otherwise off.
    pub(crate) tls: Option<Tls>,
    /// PEM certificates to trust instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// Connections for queries and notifications; writer.committers and the drain have one more each.
    pub(crate) pool_size: usize,
    /// Maximum time to open a connection for writes; after it PostgreSQL counts as unavailable.
    pub(crate) connect_timeout_ms: u64,
    /// Maximum time that a query waits for a free connection, and for a new one, before it gets 503.
    pub(crate) pool_wait_ms: u64,
    /// Maximum time of one statement.
    pub(crate) statement_timeout_ms: u64,
    /// Maximum time that a statement waits for a lock.
    pub(crate) lock_timeout_ms: u64,
}

/// The fallback while PostgreSQL is unavailable.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub(crate) struct Redis {
    /// HOST:PORT.
    pub(crate) address: String,
    /// Number of the database.
    pub(crate) database: i64,
    /// ACL user, if there is one.
    pub(crate) user: Option<String>,
    /// File with the password.
    pub(crate) password_file: Option<PathBuf>,
    /// verify or off; unset: verify in production, otherwise off.
    pub(crate) tls: Option<Tls>,
    /// PEM certificates to trust instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// Maximum time to open a connection.
    pub(crate) connect_timeout_ms: u64,
    /// Maximum time of one command.
    pub(crate) response_timeout_ms: u64,
}

impl Default for Postgresql {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:5432".to_owned(),
            database: "audit".to_owned(),
            user: "kubernaut".to_owned(),
            password_file: None,
            tls: None,
            ca_file: None,
            pool_size: 16,
            connect_timeout_ms: 2000,
            pool_wait_ms: 5000,
            statement_timeout_ms: 5000,
            lock_timeout_ms: 3000,
        }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:6379".to_owned(),
            database: 0,
            user: None,
            password_file: None,
            tls: None,
            ca_file: None,
            connect_timeout_ms: 1000,
            response_timeout_ms: 1500,
        }
    }
}
