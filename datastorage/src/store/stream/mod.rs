//! The Redis streams: events acknowledged while PostgreSQL is unavailable, until they are stored.
//!
//! An entry leaves its stream only after it is stored, or after it moved to the dead-letter queue in the same
//! script. Nothing is trimmed: full streams reject entries. Their limit in bytes includes the dead letters, so that Redis'
//! memory is bounded in sum.

mod connection;
mod dead_letters;
mod durability;
mod scripts;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{FromRedisValue, RedisError, cmd};

pub(crate) use self::dead_letters::DeadLetter;
pub(crate) use self::durability::{Durability, Flaw};
use self::scripts::Script;
use crate::config::{Config, Secrets};

/// The consumer group of all replicas.
const GROUP: &str = "datastorage";

/// The content of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Events,
    Notifications,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Events, Self::Notifications];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Notifications => "notifications",
        }
    }

    /// Redis key of the stream. `dlq` is historical: a new key would strand the entries that wait during an upgrade.
    pub(crate) fn stream(self) -> &'static str {
        match self {
            Self::Events => "audit:dlq:events",
            Self::Notifications => "audit:dlq:notifications",
        }
    }

    fn dead_letters(self) -> &'static str {
        match self {
            Self::Events => "audit:dead-letter:events",
            Self::Notifications => "audit:dead-letter:notifications",
        }
    }

    /// Rejections per entry: the stream's own count includes attempts that failed because of PostgreSQL.
    fn attempts(self) -> &'static str {
        match self {
            Self::Events => "audit:dlq:events:tries",
            Self::Notifications => "audit:dlq:notifications:tries",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Events => Self::Notifications,
            Self::Notifications => Self::Events,
        }
    }

    /// The keys of every script.
    fn keys(self) -> [&'static str; 6] {
        let other = self.other();
        [
            self.stream(),
            self.dead_letters(),
            self.attempts(),
            BYTES,
            other.stream(),
            other.dead_letters(),
        ]
    }
}

/// Counts the bytes of all entries in the streams and the dead-letter queues.
const BYTES: &str = "audit:spill:bytes";

/// One entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Redis' id: the time of arrival in milliseconds, and a counter.
    pub(crate) id: String,
    /// The acknowledged JSON; `None` for an entry of another writer.
    pub(crate) body: Option<String>,
    /// All of its fields as a JSON object, if it has no body: nothing of it must be lost.
    pub(crate) fields: Option<String>,
}

impl Entry {
    /// Size of its content.
    pub(crate) fn bytes(&self) -> usize {
        self.body.as_ref().or(self.fields.as_ref()).map_or(0, String::len)
    }
}

/// Maximum numbers of entries and bytes of one reply; the last entry may exceed the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

/// Entries that are added together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) bodies: Vec<String>,
    /// Only behind another entry: in an empty stream there is nothing to wait for.
    pub(crate) behind: bool,
}

/// The result of adding a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddOutcome {
    Added,
    Full,
    /// The stream is empty, and the unit may only be added behind another entry.
    BehindNothing,
}

/// Why a stream rejected an entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("the stream {0} is full")]
    Full(&'static str),
    /// Redis is at its `maxmemory`.
    #[error("Redis has no memory left: {0}")]
    OutOfMemory(RedisError),
    #[error("Redis failed: {0}")]
    Unavailable(RedisError),
}

impl From<RedisError> for StreamError {
    fn from(error: RedisError) -> Self {
        // Earlier versions than 7 wrap the code in a message of the script.
        if error.to_string().contains("OOM") {
            Self::OutOfMemory(error)
        } else {
            Self::Unavailable(error)
        }
    }
}

/// The state of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamState {
    pub(crate) entries: u64,
    /// Id of the oldest entry.
    pub(crate) oldest: Option<String>,
    pub(crate) dead_letters: u64,
    /// Bytes of both streams and their dead-letter queues.
    pub(crate) bytes: u64,
}

impl StreamState {
    /// Time of the oldest entry's arrival in milliseconds since 1970.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        self.oldest.as_ref()?.split('-').next()?.parse().ok()
    }
}

/// The streams.
#[derive(Clone)]
pub(crate) struct Streams {
    client: redis::Client,
    timeouts: ConnectionManagerConfig,
    connection: Arc<RwLock<ConnectionManager>>,
    max_entries: u64,
    max_bytes: u64,
}

impl Streams {
    /// Prepares the connection; it is opened on first use, and again when it breaks.
    pub(crate) fn new(config: &Config, secrets: &Secrets) -> anyhow::Result<Self> {
        let timeouts = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(config.redis.connect_timeout_ms)))
            .set_response_timeout(Some(Duration::from_millis(config.redis.response_timeout_ms)))
            // A client is waiting: an early error is better than many attempts.
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50));
        let client = connection::client(config, secrets)?;
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), timeouts.clone())?;
        Ok(Self {
            client,
            timeouts,
            connection: Arc::new(RwLock::new(connection)),
            max_entries: config.stream.max_entries,
            max_bytes: config.stream.max_bytes,
        })
    }

    /// Adds one entry.
    pub(crate) async fn add(&self, kind: Kind, body: String) -> Result<(), StreamError> {
        let unit = Unit {
            bodies: vec![body],
            behind: false,
        };
        match self.add_units(kind, &[unit]).await?.first() {
            Some(AddOutcome::Added) => Ok(()),
            _ => Err(StreamError::Full(kind.stream())),
        }
    }

    /// Adds units in one round trip, each completely or not at all.
    pub(crate) async fn add_units(&self, kind: Kind, units: &[Unit]) -> Result<Vec<AddOutcome>, StreamError> {
        let mut command = eval(Script::Add, kind);
        command.arg(self.max_entries).arg(self.max_bytes);
        for unit in units {
            command
                .arg(unit.bodies.len())
                .arg(u8::from(unit.behind))
                .arg(&unit.bodies);
        }
        let results: Vec<i8> = command.query_async(&mut self.connection()).await?;
        Ok(results
            .into_iter()
            .map(|result| match result {
                1 => AddOutcome::Added,
                -1 => AddOutcome::BehindNothing,
                _ => AddOutcome::Full,
            })
            .collect())
    }

    fn connection(&self) -> ConnectionManager {
        self.connection
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn run<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, RedisError> {
        command.query_async(&mut self.connection()).await
    }

    /// Replaces the connection by a new one, opened on first use. The manager reconnects by itself only after an I/O
    /// error: after a failed login, or a response of another server at Redis' address, it would return the same error
    /// forever.
    pub(crate) fn renew(&self) -> Result<(), RedisError> {
        let fresh = ConnectionManager::new_lazy_with_config(self.client.clone(), self.timeouts.clone())?;
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The state of a stream.
    pub(crate) async fn state(&self, kind: Kind) -> Result<StreamState, RedisError> {
        let (entries, oldest, dead_letters, bytes): (u64, String, u64, u64) =
            self.run(&eval(Script::State, kind)).await?;
        Ok(StreamState {
            entries,
            oldest: Some(oldest).filter(|oldest| !oldest.is_empty()),
            dead_letters,
            bytes,
        })
    }

    /// Maximum bytes of both streams and their dead-letter queues.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Creates the consumer group if it is missing, from the stream's first entry.
    pub(crate) async fn ensure_group(&self, kind: Kind) -> Result<(), RedisError> {
        self.run(eval(Script::Group, kind).arg(GROUP)).await
    }

    /// Entries that any replica read and did not store, from `start` on; and the next start, `0-0` after
    /// the last. Only for the holder of the drain's lock: no other replica is working on them then.
    pub(crate) async fn claim(
        &self,
        kind: Kind,
        consumer: &str,
        start: &str,
        budget: Budget,
    ) -> Result<(String, Vec<Entry>), RedisError> {
        let mut command = eval(Script::Claim, kind);
        command
            .arg(GROUP)
            .arg(consumer)
            .arg(budget.entries)
            .arg(budget.bytes)
            .arg(start);
        let (next, claimed): (String, Vec<Fields>) = self.run(&command).await?;
        Ok((next, claimed.into_iter().map(entry).collect()))
    }

    /// Unread entries.
    pub(crate) async fn read(
        &self,
        kind: Kind,
        consumer: &str,
        budget: Budget,
    ) -> Result<Vec<Entry>, RedisError> {
        let mut command = eval(Script::Read, kind);
        command
            .arg(GROUP)
            .arg(consumer)
            .arg(budget.entries)
            .arg(budget.bytes);
        let read: Vec<Fields> = self.run(&command).await?;
        Ok(read.into_iter().map(entry).collect())
    }

    /// Removes stored entries from the stream.
    pub(crate) async fn done(&self, kind: Kind, ids: &[&str]) -> Result<(), RedisError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.run(eval(Script::Done, kind).arg(GROUP).arg(ids)).await
    }

    /// Counts a rejection of an entry; returns the number of rejections.
    pub(crate) async fn count_attempt(&self, kind: Kind, id: &str) -> Result<u32, RedisError> {
        self.run(eval(Script::Count, kind).arg(id)).await
    }
}

fn eval(script: Script, kind: Kind) -> redis::Cmd {
    let keys = kind.keys();
    let mut command = cmd("EVAL");
    command.arg(script.source()).arg(keys.len()).arg(&keys);
    command
}

/// An entry as Redis returns it: its id, then names and values in turn.
type Fields = (String, Vec<Vec<u8>>);

fn entry((id, fields): Fields) -> Entry {
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::with_capacity(fields.len() / 2);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        pairs.push((text(name), value));
    }
    let body =
        pairs
            .iter_mut()
            .find(|(name, _)| name == "body")
            .and_then(|(_, value)| match String::from_utf8(std::mem::take(value)) {
                Ok(body) => Some(body),
                Err(error) => {
                    *value = error.into_bytes();
                    None
                }
            });
    let fields = body.is_none().then(|| {
        let fields = pairs.into_iter().map(|(name, value)| (name, text(value).into()));
        serde_json::Value::Object(fields.collect()).to_string()
    });
    Entry { id, body, fields }
}

/// Text of another writer, which may be anything.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
