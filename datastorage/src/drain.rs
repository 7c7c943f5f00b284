//! Brings what waits in the streams into PostgreSQL.
//!
//! Every replica runs this; an advisory lock of PostgreSQL lets one work at a time, so that the entries of a
//! correlation stay in their order. Who holds the lock takes over whatever another replica read and did not store.
//! If the replica dies, its session and with it the lock ends.

use std::time::Duration;

use redis::RedisError;
use service::server::Lifecycle;

use crate::availability::Dependency;
use crate::config::Config;
use crate::domain::event::{Event, Sealed};
use crate::domain::fields::Invalid;
use crate::domain::notification::Notification;
use crate::store::append::{Appender, Away, Verdict};
use crate::store::notifications::{self, Stored};
use crate::store::stream::{Entry, Kind};
use crate::writer::Shared;

const LOCK: i64 = 0x6175_6469_745f_6472;

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Postgresql(#[from] Away),
    #[error("Redis failed: {0}")]
    Redis(#[from] RedisError),
}

/// What is to become of an entry.
enum Fate {
    /// It is stored, now or before.
    Stored,
    /// The database refuses it; it is tried again, and in the end buried.
    Refused(String),
    /// It can never be stored.
    Hopeless(String),
}

/// The worker.
pub(crate) struct Drain {
    shared: Shared,
    lifecycle: Lifecycle,
    consumer: String,
    interval: Duration,
    group: usize,
    most_tries: u32,
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
            most_tries: config.stream.most_tries,
            timeout: Duration::from_millis(config.writer.commit_timeout_ms),
            appender: None,
        }
    }

    /// Works until the service stops; what is left then is the other replicas', or this one's after its restart.
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

    /// Empties one stream, unless another replica is doing so.
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

    async fn lock(&self) -> Result<bool, Away> {
        self.statement("SELECT pg_try_advisory_lock($1)").await
    }

    async fn statement(&self, sql: &str) -> Result<bool, Away> {
        let Some(appender) = &self.appender else {
            return Ok(false);
        };
        let row = tokio::time::timeout(self.timeout, appender.client().query_one(sql, &[&LOCK]))
            .await
            .map_err(|_| Away::TimedOut(self.timeout))??;
        Ok(row.get(0))
    }

    async fn empty(&mut self, kind: Kind) -> Result<(), Interrupted> {
        self.shared.streams.ensure_group(kind).await?;
        // First what was read before and not stored: it is older.
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

    /// Stores entries and takes them out of the stream, those that are refused counted or buried.
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
                Fate::Hopeless(reason) => self.bury(kind, entry, &reason, 1).await?,
                Fate::Refused(reason) => {
                    let tries = self.shared.streams.count_try(kind, &entry.id).await?;
                    if tries >= self.most_tries {
                        self.bury(kind, entry, &reason, tries).await?;
                    } else {
                        tracing::warn!(
                            entry = entry.id,
                            tries,
                            reason,
                            "an entry of the stream is refused"
                        );
                    }
                }
            }
        }
        self.shared.streams.done(kind, &stored).await?;
        self.shared.metrics.drained(kind, stored.len());
        Ok(())
    }

    async fn bury(&self, kind: Kind, entry: &Entry, reason: &str, tries: u32) -> Result<(), RedisError> {
        tracing::error!(
            entry = entry.id,
            tries,
            reason,
            "an entry of the stream can't be stored and is a dead letter now; see datastorage dlq list"
        );
        self.shared.streams.bury(kind, entry, reason, tries).await?;
        self.shared.metrics.buried(kind);
        Ok(())
    }

    async fn store_events(&mut self, entries: &[Entry]) -> Result<Vec<Fate>, Away> {
        let read: Vec<Result<Sealed, String>> = entries
            .iter()
            .map(|entry| {
                let body = entry.body.as_deref().ok_or("it has no field `body`")?;
                Event::read_again(body)
                    .map(Sealed::new)
                    .map_err(|invalid| told(&invalid))
            })
            .collect();
        let units: Vec<&[Sealed]> = read.iter().flatten().map(std::slice::from_ref).collect();
        let mut verdicts = Vec::new();
        if !units.is_empty() {
            let Some(appender) = &mut self.appender else {
                return Err(Away::Failed("no session".to_owned()));
            };
            let append = appender.append(&units, &self.shared.keys, &mut verdicts);
            tokio::time::timeout(self.timeout, append)
                .await
                .map_err(|_| Away::TimedOut(self.timeout))??;
        }
        let mut verdicts = verdicts.into_iter();
        Ok(read
            .into_iter()
            .map(|read| match read {
                Ok(_) => fate_of(verdicts.next().flatten()),
                Err(reason) => Fate::Hopeless(format!("it can't be read as an event: {reason}")),
            })
            .collect())
    }

    async fn store_notifications(&self, entries: &[Entry]) -> Result<Vec<Fate>, Away> {
        let Some(appender) = &self.appender else {
            return Err(Away::Failed("no session".to_owned()));
        };
        let mut fates = Vec::with_capacity(entries.len());
        for entry in entries {
            let read = entry
                .body
                .as_deref()
                .ok_or_else(|| "it has no field `body`".to_owned())
                .and_then(|body| Notification::read_again(body).map_err(|invalid| told(&invalid)));
            fates.push(match read {
                Err(reason) => Fate::Hopeless(format!("it can't be read as a notification: {reason}")),
                Ok(notification) => {
                    match notifications::insert_with(appender.client(), &notification).await? {
                        Stored::New(_) | Stored::Known { same: true } => Fate::Stored,
                        Stored::Known { same: false } => Fate::Hopeless(
                            "another notification with its notification_id is stored".to_owned(),
                        ),
                        Stored::Refused(reason) => Fate::Refused(reason),
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
            Fate::Hopeless(format!("another event with the event_id {event_id} is stored"))
        }
        Some(Verdict::MissingParent { parent, .. }) => {
            Fate::Refused(format!("its parent_event_id {parent} is not stored"))
        }
        Some(Verdict::Refused(reason)) => Fate::Refused(reason),
        None => Fate::Refused("it was not tried".to_owned()),
    }
}

fn told(invalid: &[Invalid]) -> String {
    invalid
        .iter()
        .map(|invalid| format!("{} {}", invalid.field, invalid.message))
        .collect::<Vec<_>>()
        .join("; ")
}
