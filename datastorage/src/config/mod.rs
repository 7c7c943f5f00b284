//! The configuration: one TOML file and `DATASTORAGE__SECTION__KEY` variables, validated completely at start.

mod memory;
mod secret;
mod stores;
mod validate;

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service::config::{Auth, Environment, Http, Log, Stop};

use crate::domain::time::ClockBounds;
use memory::Memory;
pub(crate) use secret::Secrets;
pub(crate) use stores::{Postgresql, Redis, Tls};
pub(crate) use validate::{FINISH_MS, split_address};

/// The prefix of the environment variables.
pub(crate) const PREFIX: &str = "DATASTORAGE";

/// The whole configuration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Config {
    /// production, development or test. Production requires tokens and encrypted connections.
    pub(crate) environment: Environment,
    /// Log output.
    pub(crate) log: Log,
    /// Listeners and limits. Port 0 selects a free port.
    pub(crate) http: Http,
    /// Authentication and authorization of clients.
    pub(crate) auth: Auth,
    /// The ordered stop.
    pub(crate) stop: Stop,
    /// Memory.
    pub(crate) memory: Memory,
    /// The database.
    pub(crate) postgresql: Postgresql,
    /// The fallback while PostgreSQL is unavailable.
    pub(crate) redis: Redis,
    /// Group commit.
    pub(crate) writer: Writer,
    /// Spilled events.
    pub(crate) stream: Stream,
    /// Queries and exports.
    pub(crate) query: Query,
    /// Clocks of senders.
    pub(crate) clock: Clock,
    /// Hash chains.
    pub(crate) chain: Chain,
    /// The Merkle tree over all events.
    pub(crate) transparency: Transparency,
    /// Periodic verification of the whole database.
    pub(crate) verification: Verification,
    /// Removal of expired events.
    pub(crate) retention: Retention,
    /// Limit per client.
    pub(crate) rate_limit: RateLimit,
}

/// Maximum body size in bytes: a batch of 1,000 events of 5 KB.
const MAX_BODY_BYTES: usize = 5 << 20;

impl Default for Config {
    fn default() -> Self {
        Self {
            environment: Environment::default(),
            log: Log::default(),
            http: Http {
                max_body_bytes: MAX_BODY_BYTES,
                max_bodies_bytes: 0,
                request_timeout_ms: 30_000,
                ..Http::default()
            },
            auth: Auth {
                service: "datastorage".to_owned(),
                ..Auth::default()
            },
            stop: Stop {
                announce_ms: 2_000,
                drain_ms: 15_000,
            },
            memory: Memory::default(),
            postgresql: Postgresql::default(),
            redis: Redis::default(),
            writer: Writer::default(),
            stream: Stream::default(),
            query: Query::default(),
            clock: Clock::default(),
            chain: Chain::default(),
            transparency: Transparency::default(),
            verification: Verification::default(),
            retention: Retention::default(),
            rate_limit: RateLimit::default(),
        }
    }
}

/// Group commit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub(crate) struct Writer {
    /// Concurrent transactions; more help where a commit waits long for the disk.
    pub(crate) committers: usize,
    /// Maximum events per transaction; a batch is never split.
    pub(crate) group_events: usize,
    /// Memory for events that wait for their transaction; above it writes get 503. 0: a part of memory.budget_bytes.
    pub(crate) queue_bytes: usize,
    /// Maximum time of a commit; after it PostgreSQL counts as unavailable and the group goes to the stream.
    pub(crate) commit_timeout_ms: u64,
    /// Maximum time from a write's arrival to its response; after it the write gets 503.
    pub(crate) write_timeout_ms: u64,
}

/// Spilled events.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub(crate) struct Stream {
    /// Maximum entries of a stream; above it writes get 503, nothing is ever trimmed.
    pub(crate) max_entries: u64,
    /// Maximum bytes of both streams and their dead-letter queues; above it writes get 503.
    pub(crate) max_bytes: u64,
    /// Interval of the drain.
    pub(crate) drain_interval_ms: u64,
    /// Maximum entries per transaction of the drain.
    pub(crate) drain_group: usize,
    /// Maximum bytes per transaction of the drain; one larger entry is stored alone. 0: a part of memory.budget_bytes.
    pub(crate) drain_group_bytes: usize,
    /// Time after which a drain counts as stuck: PostgreSQL is available, and the oldest entry still waits.
    pub(crate) stuck_after_ms: u64,
    /// Maximum attempts to store an entry that the database rejects before it is dead-lettered.
    pub(crate) max_attempts: u32,
}

/// Queries and exports.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub(crate) struct Query {
    /// Maximum to which the total of a list is counted.
    pub(crate) count_limit: i64,
    /// Concurrent exports; each uses a connection while it runs.
    pub(crate) exports: usize,
    /// Maximum bytes of one response; a page with larger events ends early, and has a next_cursor.
    pub(crate) max_answer_bytes: usize,
    /// Memory for responses that are being built or sent; without it a request waits, then gets 503. 0: a part of
    /// memory.budget_bytes.
    pub(crate) answers_bytes: usize,
}

/// Clocks of senders. An event or notification out of these bounds is stored, and marked `clock_skew`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub(crate) struct Clock {
    /// How far a time may be ahead.
    pub(crate) max_ahead_ms: u64,
    /// How old a time may be when it is stored.
    pub(crate) max_age_ms: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            max_ahead_ms: 5 * 60_000,
            max_age_ms: 7 * 86_400_000,
        }
    }
}

impl Clock {
    /// The bounds in microseconds.
    pub(crate) fn bounds(&self) -> ClockBounds {
        let micros = |ms: u64| i64::try_from(ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        ClockBounds {
            max_ahead: micros(self.max_ahead_ms),
            max_age: micros(self.max_age_ms),
        }
    }
}

/// Hash chains.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub(crate) struct Chain {
    /// File with the HMAC key of the chain, 32 bytes or more; unset: plain SHA-256.
    pub(crate) hmac_key_file: Option<PathBuf>,
    /// Time (RFC 3339) from which events are stored with this key: a time after the end of the rolling update. From
    /// then on an event without a key is reported. Unset: at once.
    #[schemars(with = "Option<String>")]
    pub(crate) hmac_key_start: Option<Timestamp>,
    /// Earlier keys, newest first, with which older events still verify: paths, or { file, start, end }.
    pub(crate) previous_hmac_key_files: Vec<PreviousKey>,
}

/// An earlier HMAC key of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a path, or a table of file, start and end")]
#[schemars(inline)]
pub(crate) enum PreviousKey {
    /// Its file; an event of any time can have it.
    File(PathBuf),
    /// Its file, and the times (RFC 3339) between which events were stored with it.
    Period {
        file: PathBuf,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        start: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        end: Option<Timestamp>,
    },
}

/// The Merkle tree over all events.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub(crate) struct Transparency {
    /// Interval in which new events get their places in the tree, and a checkpoint is published.
    pub(crate) interval_ms: u64,
    /// File with the private key that signs checkpoints (datastorage log-key NAME), or any secret of 32 bytes or more;
    /// unset: no checkpoints.
    pub(crate) key_file: Option<PathBuf>,
    /// Name of the log in its checkpoints, unless the key has one.
    pub(crate) origin: String,
    /// File that has the last published checkpoint, on a volume of its own; unset: only log and API have it.
    pub(crate) checkpoint_file: Option<PathBuf>,
    /// Servers to which each checkpoint is posted: { url, token_file, ca_file }.
    pub(crate) targets: Vec<Target>,
}

/// An HTTP server that keeps checkpoints outside of the database.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(crate) struct Target {
    /// Address that takes a checkpoint by POST, as text.
    pub(crate) url: String,
    /// File with a bearer token, read for each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
}

/// Periodic verification of the whole database, by one replica.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub(crate) struct Verification {
    /// Interval of verifications; the first one is after a tenth of it. 0: none.
    pub(crate) interval_ms: u64,
    /// Maximum rate. The database keeps a snapshot as long as a verification takes.
    pub(crate) events_per_second: u32,
}

impl Default for Verification {
    fn default() -> Self {
        Self {
            interval_ms: 86_400_000,
            events_per_second: 20_000,
        }
    }
}

/// Removal of expired events.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub(crate) struct Retention {
    /// Whether this replica removes expired events.
    pub(crate) enabled: bool,
    /// Retention of events without their own, 1 to 2555 days.
    pub(crate) default_days: i32,
    /// Interval of retention's runs.
    pub(crate) interval_ms: u64,
}

/// Limit per client.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub(crate) struct RateLimit {
    /// Requests per second of one client; 0: no limit.
    pub(crate) requests_per_second: u32,
    /// Burst of one client; 0: one second's requests.
    pub(crate) burst: u32,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            committers: 2,
            group_events: 1000,
            queue_bytes: 0,
            commit_timeout_ms: 3000,
            write_timeout_ms: 5000,
        }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            max_entries: 100_000,
            max_bytes: 96 << 20,
            drain_interval_ms: 500,
            drain_group: 500,
            drain_group_bytes: 0,
            stuck_after_ms: 60_000,
            max_attempts: 5,
        }
    }
}

impl Default for Query {
    fn default() -> Self {
        Self {
            count_limit: 100_000,
            exports: 2,
            max_answer_bytes: 4 << 20,
            answers_bytes: 0,
        }
    }
}

impl Default for Transparency {
    fn default() -> Self {
        Self {
            interval_ms: 1000,
            key_file: None,
            origin: "datastorage".to_owned(),
            checkpoint_file: None,
            targets: Vec::new(),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            enabled: true,
            default_days: 2555,
            interval_ms: 3_600_000,
        }
    }
}

impl Config {
    /// Whether a connection is encrypted: as configured, by default in production.
    pub(crate) fn tls_is_on(&self, said: Option<Tls>) -> bool {
        said.map_or(self.environment == Environment::Production, |tls| {
            tls == Tls::Verify
        })
    }
}

#[cfg(test)]
mod tests {
    use service::config::{Validate as _, parse, print, undocumented};

    use super::*;

    #[test]
    fn every_key_has_a_doc_comment() {
        assert_eq!(undocumented::<Config>(), Vec::<String>::new());
    }

    #[test]
    fn printed_configuration_is_valid() {
        let mut config = Config::default();
        config.complete();
        let text = print(&config, PREFIX).unwrap();
        let read: Config = parse("printed", &text, PREFIX, []).unwrap();
        assert_eq!(format!("{read:?}"), format!("{config:?}"));
    }

    #[test]
    fn reports_every_error_at_once() {
        let text = "environment = 'production'\nretries = 1\n[http]\nhealth = '0.0.0.0:8080'\n[auth]\nmode = 'off'\n\
            [postgresql]\naddress = 'here'\npool_size = 0\ntls = 'off'\n[redis]\nca_file = '/a'\ntls = 'off'\n\
            [transparency]\ntargets = [{ url = 'ftp://a/b' }, { url = 'https://me:secret@a/b' }]";
        let error = parse::<Config>("c.toml", text, PREFIX, [])
            .unwrap_err()
            .to_string();
        for field in [
            "retries",
            "http.health = 0.0.0.0:8080",
            "auth.mode",
            "postgresql.address = here",
            "postgresql.pool_size = 0",
            "postgresql.tls",
            "redis.tls",
            "redis.ca_file",
            "transparency.targets = ftp://a/b: gets no checkpoint without transparency.key_file",
            "transparency.targets = ftp://a/b: write http",
            "transparency.targets = https://me:secret@a/b: write http",
        ] {
            assert!(error.contains(field), "{field} in {error}");
        }
    }
}
