//! The Redis streams: events acknowledged while PostgreSQL is unavailable, until they are stored.
//!
//! An entry leaves its stream only after it is stored, or after it moved to the dead-letter queue in the same
//! transaction. Nothing is trimmed: a full stream rejects entries.

mod connection;
mod dead_letters;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use redis::{RedisError, cmd, pipe};

pub(crate) use self::dead_letters::DeadLetter;
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
}

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

/// Why a stream rejected an entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("the stream {0} is full")]
    Full(&'static str),
    #[error("Redis failed: {0}")]
    Unavailable(#[from] RedisError),
}

/// Adds all entries or, without space for all, none.
const ADD: &str = "
if redis.call('XLEN', KEYS[1]) + #ARGV - 1 > tonumber(ARGV[1]) then return 0 end
for i = 2, #ARGV do redis.call('XADD', KEYS[1], '*', 'v', '1', 'body', ARGV[i]) end
return #ARGV - 1";

/// The streams.
#[derive(Clone)]
pub(crate) struct Streams {
    client: redis::Client,
    timeouts: ConnectionManagerConfig,
    connection: Arc<RwLock<ConnectionManager>>,
    max_entries: u64,
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
        })
    }

    /// Adds all of `bodies`, or none.
    pub(crate) async fn add(&self, kind: Kind, bodies: &[&str]) -> Result<(), StreamError> {
        let mut command = cmd("EVAL");
        command.arg(ADD).arg(1).arg(kind.stream()).arg(self.max_entries);
        for body in bodies {
            command.arg(body);
        }
        let added: usize = command.query_async(&mut self.connection()).await?;
        if added == bodies.len() {
            Ok(())
        } else {
            Err(StreamError::Full(kind.stream()))
        }
    }

    fn connection(&self) -> ConnectionManager {
        self.connection
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the connection by a new one, opened on first use. The manager reconnects by itself only after an I/O
    /// error: after a failed login, or a response of another server at Redis' address, it would return the same error
    /// forever.
    pub(crate) fn renew(&self) -> Result<(), RedisError> {
        let fresh = ConnectionManager::new_lazy_with_config(self.client.clone(), self.timeouts.clone())?;
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub(crate) async fn ping(&self) -> Result<(), RedisError> {
        cmd("PING").query_async(&mut self.connection()).await
    }

    /// The number of waiting entries, and the time of the oldest in milliseconds since 1970.
    pub(crate) async fn depth(&self, kind: Kind) -> Result<(u64, Option<u64>), RedisError> {
        let (length, first): (u64, Vec<(String, Vec<String>)>) = pipe()
            .cmd("XLEN")
            .arg(kind.stream())
            .cmd("XRANGE")
            .arg(kind.stream())
            .arg("-")
            .arg("+")
            .arg("COUNT")
            .arg(1)
            .query_async(&mut self.connection())
            .await?;
        Ok((
            length,
            first
                .first()
                .and_then(|(id, _)| id.split('-').next()?.parse().ok()),
        ))
    }

    /// The number of dead letters.
    pub(crate) async fn dead(&self, kind: Kind) -> Result<u64, RedisError> {
        cmd("XLEN")
            .arg(kind.dead_letters())
            .query_async(&mut self.connection())
            .await
    }

    /// Creates the consumer group if it is missing, from the stream's first entry.
    pub(crate) async fn ensure_group(&self, kind: Kind) -> Result<(), RedisError> {
        let result: Result<(), RedisError> = cmd("XGROUP")
            .arg("CREATE")
            .arg(kind.stream())
            .arg(GROUP)
            .arg("0")
            .arg("MKSTREAM")
            .query_async(&mut self.connection())
            .await;
        match result {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            other => other,
        }
    }

    /// Entries that any replica read and did not store, from `start` on; and the next start, `0-0` after
    /// the last. Only for the holder of the drain's lock: no other replica is working on them then.
    pub(crate) async fn claim(
        &self,
        kind: Kind,
        consumer: &str,
        start: &str,
        count: usize,
    ) -> Result<(String, Vec<Entry>), RedisError> {
        let reply: StreamAutoClaimReply = cmd("XAUTOCLAIM")
            .arg(kind.stream())
            .arg(GROUP)
            .arg(consumer)
            .arg(0)
            .arg(start)
            .arg("COUNT")
            .arg(count)
            .query_async(&mut self.connection())
            .await?;
        Ok((reply.next_stream_id, reply.claimed.iter().map(entry).collect()))
    }

    /// Unread entries.
    pub(crate) async fn read(
        &self,
        kind: Kind,
        consumer: &str,
        count: usize,
    ) -> Result<Vec<Entry>, RedisError> {
        let reply: Option<StreamReadReply> = cmd("XREADGROUP")
            .arg("GROUP")
            .arg(GROUP)
            .arg(consumer)
            .arg("COUNT")
            .arg(count)
            .arg("STREAMS")
            .arg(kind.stream())
            .arg(">")
            .query_async(&mut self.connection())
            .await?;
        Ok(reply
            .iter()
            .flat_map(|reply| &reply.keys)
            .flat_map(|key| &key.ids)
            .map(entry)
            .collect())
    }

    /// Removes stored entries from the stream.
    pub(crate) async fn done(&self, kind: Kind, ids: &[&str]) -> Result<(), RedisError> {
        if ids.is_empty() {
            return Ok(());
        }
        pipe()
            .atomic()
            .cmd("XACK")
            .arg(kind.stream())
            .arg(GROUP)
            .arg(ids)
            .ignore()
            .cmd("XDEL")
            .arg(kind.stream())
            .arg(ids)
            .ignore()
            .cmd("HDEL")
            .arg(kind.attempts())
            .arg(ids)
            .ignore()
            .query_async(&mut self.connection())
            .await
    }

    /// Counts a rejection of an entry; returns the number of rejections.
    pub(crate) async fn count_attempt(&self, kind: Kind, id: &str) -> Result<u32, RedisError> {
        cmd("HINCRBY")
            .arg(kind.attempts())
            .arg(id)
            .arg(1)
            .query_async(&mut self.connection())
            .await
    }
}

fn entry(id: &StreamId) -> Entry {
    let body: Option<String> = id.get("body");
    let fields = body.is_none().then(|| {
        let fields = id
            .map
            .keys()
            .map(|key| (key.clone(), id.get::<String>(key).unwrap_or_default().into()));
        serde_json::Value::Object(fields.collect()).to_string()
    });
    Entry {
        id: id.id.clone(),
        body,
        fields,
    }
}
