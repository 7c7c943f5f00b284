//! Drains the streams into PostgreSQL.
//!
//! Every replica runs this; an advisory lock of PostgreSQL lets one work at a time, so that the entries of a
//! correlation stay in order. The holder of the lock claims entries that another replica read and did not store.
//! When the replica dies, its session and the lock end.

use std::time::Duration;

use redis::RedisError;
use service::server::Lifecycle;

use crate::availability::Dependency;
use crate::config::Config;
use crate::domain::canonical::Numbers;
use crate::domain::event::{Event, Sealed};
use crate::domain::fields::Invalid;
use crate::domain::notification::Notification;
use crate::store::append::{Appender, Unavailable, Verdict};
use crate::store::notifications::{self, Stored};
use crate::store::stream::{Entry, Kind};
use crate::writer::Shared;

const LOCK: i64 = 0x6175_6469_745f_6472;

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Postgresql(#[from] Unavailable),
    #[error("Redis failed: {0}")]
    Redis(#[from] RedisError),
}

/// The result of an entry.
enum Fate {
    /// It is stored, now or before.
    Stored,
    /// The database rejects it; it is retried, and finally dead-lettered.
    Rejected(String),
    /// It can never be stored.
    Unstorable(String),
}

/// The worker.
pub(crate) struct Drain {
    shared: Shared,
    lifecycle: Lifecycle,
    consumer: String,
    interval: Duration,
    group: usize,
    max_attempts: u32,
    timeout: Duration,
    appender: Option<Appender>,
}

impl Drain {
    pub(crate) fn new(config: &Config, shared: Shared, lifecycle: Lifecycle) -> Self {
        Self {
            shared,
            lifecycle,
            consumer: uuid::Uuid::new_v4().to_string(),
            interval: Duration::from_millis(config.stream.drain_interval_ms),
            group: config.stream.drain_group,
            max_attempts: config.stream.max_attempts,
            timeout: Duration::from_millis(config.writer.commit_timeout_ms),
            appender: None,
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
                    Ok(()) => {}
                    Err(Interrupted::Postgresql(error)) => {
                        tracing::debug!(%error, "the drain waits for PostgreSQL");
                        self.appender = None;
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
        let (depth, _) = self.shared.streams.depth(kind).await?;
        if depth == 0 || self.shared.availability.is_down(Dependency::Postgresql) {
            return Ok(());
        }
        if self.appender.as_ref().is_none_or(Appender::is_closed) {
            self.appender = Some(Appender::open(&self.shared.database, self.shared.ends.clone()).await?);
        }
        if !self.lock().await? {
            return Ok(());
        }
        let result = self.empty(kind).await;
        if result.is_ok() {
            self.statement("SELECT pg_advisory_unlock($1)").await?;
        } else {
            // The lock ends with the session.
            self.appender = None;
        }
        result
    }

    async fn lock(&self) -> Result<bool, Unavailable> {
        self.statement("SELECT pg_try_advisory_lock($1)").await
    }

    async fn statement(&self, sql: &str) -> Result<bool, Unavailable> {
        let Some(appender) = &self.appender else {
            return Ok(false);
        };
        let row = tokio::time::timeout(self.timeout, appender.client().query_one(sql, &[&LOCK]))
            .await
            .map_err(|_| Unavailable::TimedOut(self.timeout))??;
        Ok(row.get(0))
    }

    async fn empty(&mut self, kind: Kind) -> Result<(), Interrupted> {
        self.shared.streams.ensure_group(kind).await?;
        // First the entries that were read before and not stored: they are older.
        let mut start = "0-0".to_owned();
        loop {
            let (next, entries) = self
                .shared
                .streams
                .claim(kind, &self.consumer, &start, self.group)
                .await?;
            self.store(kind, &entries).await?;
            if next == "0-0" || self.lifecycle.is_stopping() {
                break;
            }
            start = next;
        }
        while !self.lifecycle.is_stopping() {
            let entries = self.shared.streams.read(kind, &self.consumer, self.group).await?;
            if entries.is_empty() {
                break;
            }
            self.store(kind, &entries).await?;
        }
        Ok(())
    }

    /// Stores entries and removes them from the stream; rejected ones are counted or dead-lettered.
    async fn store(&mut self, kind: Kind, entries: &[Entry]) -> Result<(), Interrupted> {
        if entries.is_empty() {
            return Ok(());
        }
        let fates = match kind {
            Kind::Events => self.store_events(entries).await?,
            Kind::Notifications => self.store_notifications(entries).await?,
        };
        let mut stored = Vec::with_capacity(entries.len());
        for (entry, fate) in entries.iter().zip(fates) {
            match fate {
                Fate::Stored => stored.push(entry.id.as_str()),
                Fate::Unstorable(reason) => self.dead_letter(kind, entry, &reason, 1).await?,
                Fate::Rejected(reason) => {
                    let attempts = self.shared.streams.count_attempt(kind, &entry.id).await?;
                    if attempts >= self.max_attempts {
                        self.dead_letter(kind, entry, &reason, attempts).await?;
                    } else {
                        tracing::warn!(entry = entry.id, attempts, reason, "a stream entry is rejected");
                    }
                }
            }
        }
        self.shared.streams.done(kind, &stored).await?;
        self.shared.metrics.drained(kind, stored.len());
        Ok(())
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
            let append = appender.append(&units, &self.shared.keys, &mut verdicts);
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
        let Some(appender) = &self.appender else {
            return Err(Unavailable::Failed("no session".to_owned()));
        };
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
                    match notifications::insert_with(appender.client(), &notification).await? {
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

fn fate_of(verdict: Option<Verdict>) -> Fate {
    match verdict {
        Some(Verdict::Stored) => Fate::Stored,
        Some(Verdict::Conflict { event_id, .. }) => {
            Fate::Unstorable(format!("another event with the event_id {event_id} is stored"))
        }
        Some(Verdict::MissingParent { parent, .. }) => {
            Fate::Rejected(format!("its parent_event_id {parent} is not stored"))
        }
        Some(Verdict::Rejected(reason)) => Fate::Rejected(reason),
        None => Fate::Rejected("it was not attempted".to_owned()),
    }
}

fn message_of(invalid: &[Invalid]) -> String {
    invalid
        .iter()
        .map(|invalid| format!("{} {}", invalid.field, invalid.message))
        .collect::<Vec<_>>()
        .join("; ")
}
