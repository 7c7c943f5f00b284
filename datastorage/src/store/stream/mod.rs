//! The Redis streams: what was acknowledged while PostgreSQL was away, until it is stored.
//!
//! An entry leaves its stream only after it is stored, or after it moved to the dead letters in the same
//! transaction. Nothing is trimmed: a full stream refuses.

mod connection;
mod dead_letters;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use redis::{RedisError, cmd, pipe};

pub(crate) use self::dead_letters::DeadLetter;
use crate::config::{Config, Secrets};

/// The consumer group that all replicas are in.
const GROUP: &str = "datastorage";

/// What a stream holds.
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

    /// How often each entry was refused: the stream's own count also counts what was PostgreSQL's fault.
    fn tries(self) -> &'static str {
        match self {
            Self::Events => "audit:dlq:events:tries",
            Self::Notifications => "audit:dlq:notifications:tries",
        }
    }
}

/// One entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Redis' id: the time of its arrival in milliseconds, and a count.
    pub(crate) id: String,
    /// What was acknowledged, as JSON; `None` for an entry that somebody else wrote.
    pub(crate) body: Option<String>,
    /// All of its fields as a JSON object, where it has no body: nothing of it must be lost.
    pub(crate) fields: Option<String>,
}

/// Why a stream did not take something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("the stream {0} is full")]
    Full(&'static str),
    #[error("Redis failed: {0}")]
    Away(#[from] RedisError),
}

/// Adds all entries or, if there is no room for all, none.
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
    most_entries: u64,
}

impl Streams {
    /// Prepares the connection; it is opened when it is first needed, and again when it breaks.
    pub(crate) fn new(config: &Config, secrets: &Secrets) -> anyhow::Result<Self> {
        let timeouts = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(config.redis.connect_timeout_ms)))
            .set_response_timeout(Some(Duration::from_millis(config.redis.response_timeout_ms)))
            // A caller is waiting: better a clear "not now" than many tries.
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50));
        let client = connection::client(config, secrets)?;
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), timeouts.clone())?;
        Ok(Self {
            client,
            timeouts,
            connection: Arc::new(RwLock::new(connection)),
            most_entries: config.stream.most_entries,
        })
    }

    /// Adds all of `bodies`, or none.
    pub(crate) async fn add(&self, kind: Kind, bodies: &[&str]) -> Result<(), StreamError> {
        let mut command = cmd("EVAL");
        command.arg(ADD).arg(1).arg(kind.stream()).arg(self.most_entries);
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

    /// Gives up the connection for a new one, opened when it is first needed. The manager connects again by itself only
    /// after an error of input and output: where a login failed, or something else answered at Redis' address, it would
    /// give the same error for ever.
    pub(crate) fn renew(&self) -> Result<(), RedisError> {
        let fresh = ConnectionManager::new_lazy_with_config(self.client.clone(), self.timeouts.clone())?;
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub(crate) async fn ping(&self) -> Result<(), RedisError> {
        cmd("PING").query_async(&mut self.connection()).await
    }

    /// How many entries wait, and since when the oldest does, in milliseconds since 1970.
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

    /// How many dead letters there are.
    pub(crate) async fn dead(&self, kind: Kind) -> Result<u64, RedisError> {
        cmd("XLEN")
            .arg(kind.dead_letters())
            .query_async(&mut self.connection())
            .await
    }

    /// Makes the consumer group where it is missing: it begins with the stream's first entry.
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

    /// Entries that were read and not stored, by whatever replica, from `start` on; and where to go on, `0-0` after
    /// the last. Only who holds the lock of the drain may ask: nobody else is at work on them then.
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

    /// Entries that nobody has read yet.
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

    /// Takes stored entries out of the stream.
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
            .arg(kind.tries())
            .arg(ids)
            .ignore()
            .query_async(&mut self.connection())
            .await
    }

    /// Counts a refusal of an entry; how many there were.
    pub(crate) async fn count_try(&self, kind: Kind, id: &str) -> Result<u32, RedisError> {
        cmd("HINCRBY")
            .arg(kind.tries())
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
