//! The configuration: one TOML file and `DATASTORAGE__SECTION__KEY` variables, checked whole at start.

mod print;
mod secret;
mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use print::print;
pub(crate) use secret::Secrets;
pub(crate) use validate::split_address;

/// The prefix of the environment variables.
pub(crate) const PREFIX: &str = "DATASTORAGE";

/// Where this runs; production refuses what is only good enough for a test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Environment {
    #[default]
    Production,
    Development,
    Test,
}

/// Whether and how a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tls {
    Off,
    Verify,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) environment: Environment,
    pub(crate) log: Log,
    pub(crate) http: Http,
    pub(crate) postgresql: Postgresql,
    pub(crate) redis: Redis,
    pub(crate) writer: Writer,
    pub(crate) stream: Stream,
    pub(crate) query: Query,
    pub(crate) chain: Chain,
    pub(crate) retention: Retention,
    pub(crate) auth: Auth,
    pub(crate) rate_limit: RateLimit,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Log {
    pub(crate) filter: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Http {
    pub(crate) api: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) announce_ms: u64,
    pub(crate) drain_seconds: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Postgresql {
    pub(crate) address: String,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) tls: Option<Tls>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) pool_size: usize,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) pool_wait_ms: u64,
    pub(crate) statement_timeout_ms: u64,
    pub(crate) lock_timeout_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Redis {
    pub(crate) address: String,
    pub(crate) database: i64,
    pub(crate) user: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) tls: Option<Tls>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) response_timeout_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Writer {
    pub(crate) committers: usize,
    pub(crate) group_events: usize,
    pub(crate) queue_mib: usize,
    pub(crate) commit_timeout_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Stream {
    pub(crate) most_entries: u64,
    pub(crate) drain_interval_ms: u64,
    pub(crate) drain_group: usize,
    pub(crate) most_tries: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    pub(crate) count_limit: i64,
    pub(crate) exports: usize,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Chain {
    pub(crate) hmac_key_file: Option<PathBuf>,
    pub(crate) previous_hmac_key_files: Vec<PathBuf>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Retention {
    pub(crate) enabled: bool,
    pub(crate) default_days: i32,
    pub(crate) interval_seconds: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Auth {
    pub(crate) enabled: Option<bool>,
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) audiences: Vec<String>,
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) cache_seconds: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RateLimit {
    pub(crate) requests_per_second: u32,
    pub(crate) burst: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            api: SocketAddr::from(([0, 0, 0, 0], 8080)),
            health: SocketAddr::from(([0, 0, 0, 0], 8081)),
            metrics: SocketAddr::from(([0, 0, 0, 0], 9090)),
            announce_ms: 2000,
            drain_seconds: 15,
        }
    }
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
            pool_wait_ms: 3000,
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
            response_timeout_ms: 2000,
        }
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            committers: 2,
            group_events: 1000,
            queue_mib: 64,
            commit_timeout_ms: 8000,
        }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            most_entries: 100_000,
            drain_interval_ms: 500,
            drain_group: 500,
            most_tries: 5,
        }
    }
}

impl Default for Query {
    fn default() -> Self {
        Self {
            count_limit: 100_000,
            exports: 2,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            enabled: true,
            default_days: 2555,
            interval_seconds: 3600,
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            enabled: None,
            kubeconfig: None,
            audiences: Vec::new(),
            namespace: "kubernaut-system".to_owned(),
            service: "datastorage".to_owned(),
            cache_seconds: 10,
        }
    }
}

impl Config {
    /// Whether callers must show a token: said, or else in production.
    pub(crate) fn auth_is_on(&self) -> bool {
        self.auth
            .enabled
            .unwrap_or(self.environment == Environment::Production)
    }

    /// Whether a connection is encrypted: said, or else in production.
    pub(crate) fn tls_is_on(&self, said: Option<Tls>) -> bool {
        said.map_or(self.environment == Environment::Production, |tls| {
            tls == Tls::Verify
        })
    }
}
