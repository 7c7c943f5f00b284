//! Drains the streams into PostgreSQL.
//!
//! Every replica runs this; an advisory lock of PostgreSQL lets one work at a time, so that the entries of a
//! correlation stay in order. The holder of the lock claims entries that another replica read and did not store.
//! When the replica dies, its session and the lock end.
//!
//! Entries are read and stored by bytes. A group that fails, perhaps because of an entry, is halved; an entry that fails
//! alone is tried alone from then on, so that it delays no other, and is dead-lettered after `max_attempts`.

mod fate;
mod pace;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use redis::RedisError;
use service::server::Lifecycle;
use tokio_postgres::types::ToSql;

use crate::availability::Dependency;
use crate::config::Config;
use crate::domain::canonical::Numbers;
use crate::domain::event::{Event, Sealed};
use crate::domain::notification::Notification;
use crate::store::append::{Appender, Unavailable};
use crate::store::notifications::{self, Stored};
use crate::store::stream::{Budget, Entry, Kind};
use crate::writer::Shared;

use fate::{Fate, fate_of, message_of};
use pace::Pace;

const LOCK: i64 = 0x6175_6469_745f_6472;

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Postgresql(#[from] Unavailable),
    #[error("Redis failed: {0}")]
    Redis(#[from] RedisError),
    /// It is not an error: that replica drains.
    #[error("another replica has the lock")]
    Locked,
}

/// The worker.
pub(crate) struct Drain {
    shared: Shared,
    lifecycle: Lifecycle,
    consumer: String,
    interval: Duration,
    pace: Pace,
    max_attempts: u32,
    timeout: Duration,
    appender: Option<Appender>,
    /// Whether the appender's session holds the lock.
    locked: bool,
    /// Ids of entries that failed alone.
    suspects: HashSet<String>,
}

/// Maximum number of known suspects; above it they are forgotten, and found again.
const MAX_SUSPECTS: usize = 10_000;

impl Drain {
    pub(crate) fn new(config: &Config, shared: Shared, lifecycle: Lifecycle) -> Self {
        Self {
            shared,
            lifecycle,
            consumer: uuid::Uuid::new_v4().to_string(),
            interval: Duration::from_millis(config.stream.drain_interval_ms),
            pace: Pace::new(Budget {
                entries: config.stream.drain_group,
                bytes: config.stream.drain_group_bytes,
            }),
            max_attempts: config.stream.max_attempts,
            // PostgreSQL's own timeout comes first: it ends the statement, too.
            timeout: Duration::from_millis(1000 + 2 * config.postgresql.statement_timeout_ms),
            appender: None,
            locked: false,
            suspects: HashSet::new(),
        }
    }

    /// Works until the service stops; remaining entries are drained by other replicas, or after the restart.
    pub(crate) async fn run(mut self) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.lifecycle.stopping() => return,
                _ = ticks.tick() => {}
            }
            for kind in Kind::ALL {
                match self.pass(kind).await {
                    Ok(()) | Err(Interrupted::Locked) => {}
                    Err(Interrupted::Postgresql(error)) => {
                        tracing::debug!(%error, "the drain waits for PostgreSQL");
                        self.shared.availability.drain_failed(error.to_string());
                        self.close();
                    }
                    Err(Interrupted::Redis(error)) => {
                        self.shared
                            .availability
                            .down(Dependency::Redis, error.to_string());
                    }
                }
            }
        }
    }

    /// Drains one stream, unless another replica does.
    async fn pass(&mut self, kind: Kind) -> Result<(), Interrupted> {
        // In this order: Redis has enough to do meanwhile.
        if self.shared.availability.is_down(Dependency::Postgresql)
            || self.shared.streams.state(kind).await?.entries == 0
        {
            return Ok(());
        }
        self.open().await?;
        let result = self.empty(kind).await;
        if result.is_ok() && self.locked {
            self.statement("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
            self.locked = false;
        } else {
            self.close();
        }
        result
    }

    /// Ensures a session that holds the lock.
    async fn open(&mut self) -> Result<(), Interrupted> {
        if self.appender.as_ref().is_none_or(Appender::is_closed) {
            self.close();
            self.appender = Some(Appender::open(&self.shared.database, self.shared.ends.clone()).await?);
        }
        if !self.locked {
            let row = self
                .statement("SELECT pg_try_advisory_lock($1)", &[&LOCK])
                .await?;
            self.locked = row.get(0);
        }
        if self.locked {
            Ok(())
        } else {
            Err(Interrupted::Locked)
        }
    }

    /// Closes the session; the lock ends with it.
    fn close(&mut self) {
        self.appender = None;
        self.locked = false;
    }

    async fn statement(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<tokio_postgres::Row, Unavailable> {
        let appender = self.session()?;
        let row = tokio::time::timeout(self.timeout, appender.client().query_one(sql, parameters))
            .await
            .map_err(|_| Unavailable::TimedOut(self.timeout))??;
        Ok(row)
    }

    fn session(&self) -> Result<&Appender, Unavailable> {
        self.appender
            .as_ref()
            .ok_or_else(|| Unavailable::Failed("no session".to_owned()))
    }

    async fn empty(&mut self, kind: Kind) -> Result<(), Interrupted> {
        self.shared.streams.ensure_group(kind).await?;
        // First the entries that were read before and not stored: they are older.
        let mut start = "0-0".to_owned();
        loop {
            let budget = self.pace.budget();
            let claim = self.shared.streams.claim(kind, &self.consumer, &start, budget);
            let (next, entries) = claim.await?;
            self.store(kind, &entries).await?;
            if next == "0-0" || self.lifecycle.is_stopping() {
                break;
            }
            start = next;
        }
        while !self.lifecycle.is_stopping() {
            let budget = self.pace.budget();
            let entries = self.shared.streams.read(kind, &self.consumer, budget).await?;
            if entries.is_empty() {
                break;
            }
            self.store(kind, &entries).await?;
        }
        Ok(())
    }

    /// Stores entries, in halves where that fails.
    async fn store(&mut self, kind: Kind, entries: &[Entry]) -> Result<(), Interrupted> {
        let mut parts = self.parts(entries);
        while let Some(part) = parts.pop() {
            if self.lifecycle.is_stopping() {
                return Ok(());
            }
            self.open().await?;
            let begin = Instant::now();
            let error = match self.attempt(kind, part).await {
                Ok(fates) => {
                    self.pace.stored(begin.elapsed());
                    self.settle(kind, part, fates).await?;
                    continue;
                }
                Err(error @ (Unavailable::Suspect(_) | Unavailable::TimedOut(_))) => error,
                Err(error) => return Err(error.into()),
            };
            self.pace.failed();
            self.shared.availability.drain_failed(error.to_string());
            if let [entry] = part {
                self.failed_alone(kind, entry, error).await?;
            } else {
                let bytes: usize = part.iter().map(Entry::bytes).sum();
                tracing::warn!(%error, entries = part.len(), bytes, "stream entries cannot be stored together; halving");
                let (first, second) = part.split_at(part.len() / 2);
                // The first half is next: entries stay in their order.
                parts.extend([second, first]);
            }
        }
        Ok(())
    }

    /// Entries in reverse order of their attempts: those between suspects together, then each suspect alone.
    fn parts<'a>(&self, entries: &'a [Entry]) -> Vec<&'a [Entry]> {
        let is_suspect = |entry: &Entry| self.suspects.contains(&entry.id);
        let together = entries.split(is_suspect).filter(|part| !part.is_empty());
        let alone = entries.chunks(1).filter(|part| part.iter().any(is_suspect));
        let mut parts: Vec<&[Entry]> = together.chain(alone).collect();
        parts.reverse();
        parts
    }

    async fn attempt(&mut self, kind: Kind, entries: &[Entry]) -> Result<Vec<Fate>, Unavailable> {
        let result = match kind {
            Kind::Events => self.store_events(entries).await,
            Kind::Notifications => self.store_notifications(entries).await,
        };
        if matches!(result, Err(Unavailable::TimedOut(_))) {
            // The session waits for the abandoned statement.
            self.close();
        }
        result
    }

    /// Counts an attempt for an entry that fails alone, unless PostgreSQL fails without it, too.
    async fn failed_alone(
        &mut self,
        kind: Kind,
        entry: &Entry,
        error: Unavailable,
    ) -> Result<(), Interrupted> {
        self.open().await?;
        // Commits durably, and touches no table.
        let probe = "SELECT pg_logical_emit_message(true, 'datastorage', 'probe')::text";
        if let Err(probe) = self.statement(probe, &[]).await {
            tracing::debug!(%probe, "PostgreSQL does not commit");
            return Err(error.into());
        }
        if self.suspects.len() >= MAX_SUSPECTS {
            self.suspects.clear();
        }
        self.suspects.insert(entry.id.clone());
        self.rejected(kind, entry, &error.to_string()).await?;
        Ok(())
    }

    /// Removes stored entries from the stream; rejected ones are counted or dead-lettered.
    async fn settle(&mut self, kind: Kind, entries: &[Entry], fates: Vec<Fate>) -> Result<(), RedisError> {
        let mut stored = Vec::with_capacity(entries.len());
        for (entry, fate) in entries.iter().zip(fates) {
            match fate {
                Fate::Stored => stored.push(entry.id.as_str()),
                Fate::Unstorable(reason) => self.dead_letter(kind, entry, &reason, 1).await?,
                Fate::Rejected(reason) => self.rejected(kind, entry, &reason).await?,
            }
        }
        self.shared.streams.done(kind, &stored).await?;
        self.shared.metrics.drained(kind, stored.len());
        if !stored.is_empty() {
            self.shared.availability.drain_progressed();
            self.suspects
                .retain(|suspect| !stored.contains(&suspect.as_str()));
        }
        Ok(())
    }

    async fn rejected(&mut self, kind: Kind, entry: &Entry, reason: &str) -> Result<(), RedisError> {
        let attempts = self.shared.streams.count_attempt(kind, &entry.id).await?;
        if attempts >= self.max_attempts {
            self.suspects.remove(&entry.id);
            self.dead_letter(kind, entry, reason, attempts).await
        } else {
            tracing::warn!(entry = entry.id, attempts, reason, "a stream entry is rejected");
            Ok(())
        }
    }

    async fn dead_letter(
        &self,
        kind: Kind,
        entry: &Entry,
        reason: &str,
        attempts: u32,
    ) -> Result<(), RedisError> {
        tracing::error!(
            entry = entry.id,
            attempts,
            reason,
            "a stream entry cannot be stored and is dead-lettered; see datastorage dlq list"
        );
        self.shared
            .streams
            .dead_letter(kind, entry, reason, attempts)
            .await?;
        self.shared.metrics.dead_lettered(kind);
        Ok(())
    }

    async fn store_events(&mut self, entries: &[Entry]) -> Result<Vec<Fate>, Unavailable> {
        let read: Vec<Result<Sealed, String>> = entries
            .iter()
            .map(|entry| {
                let body = entry.body.as_deref().ok_or("it has no field `body`")?;
                Event::read_again(body, Numbers::Exact)
                    .map(Sealed::new)
                    .map_err(|invalid| message_of(&invalid))
            })
            .collect();
        let units: Vec<&[Sealed]> = read.iter().flatten().map(std::slice::from_ref).collect();
        let mut verdicts = Vec::new();
        if !units.is_empty() {
            let Some(appender) = &mut self.appender else {
                return Err(Unavailable::Failed("no session".to_owned()));
            };
            let append = appender.append(&units, &self.shared.trust.chain, &mut verdicts);
            tokio::time::timeout(self.timeout, append)
                .await
                .map_err(|_| Unavailable::TimedOut(self.timeout))??;
        }
        let mut verdicts = verdicts.into_iter();
        Ok(read
            .into_iter()
            .map(|read| match read {
                Ok(_) => fate_of(verdicts.next().flatten()),
                Err(reason) => Fate::Unstorable(format!("it is not a valid event: {reason}")),
            })
            .collect())
    }

    async fn store_notifications(&self, entries: &[Entry]) -> Result<Vec<Fate>, Unavailable> {
        let appender = self.session()?;
        let mut fates = Vec::with_capacity(entries.len());
        for entry in entries {
            let read = entry
                .body
                .as_deref()
                .ok_or_else(|| "it has no field `body`".to_owned())
                .and_then(|body| Notification::read_again(body).map_err(|invalid| message_of(&invalid)));
            fates.push(match read {
                Err(reason) => Fate::Unstorable(format!("it is not a valid notification: {reason}")),
                Ok(notification) => {
                    let insert = notifications::insert_with(appender.client(), &notification);
                    let stored = tokio::time::timeout(self.timeout, insert)
                        .await
                        .map_err(|_| Unavailable::TimedOut(self.timeout))??;
                    match stored {
                        Stored::New(_) | Stored::Known { same: true } => Fate::Stored,
                        Stored::Known { same: false } => Fate::Unstorable(
                            "another notification with its notification_id is stored".to_owned(),
                        ),
                        Stored::Rejected(reason) => Fate::Rejected(reason),
                    }
                }
            });
        }
        Ok(fates)
    }
}
