//! The group committer: writes that arrive during a transaction form the next one.
//!
//! A write to an idle service is committed at once, so that it responds as fast as the disk; under load groups grow by
//! themselves, and clients that write repeatedly stay together in one
//! (docs/adr/0044-coalescing-window.md). The committers own accepted writes: a client that hangs up changes
//! nothing. While PostgreSQL is unavailable they put groups into the stream, in the same order.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::availability::{Availability, Dependency};
use crate::config::Config;
use crate::domain::chain::Keys;
use crate::domain::event::Sealed;
use crate::group::{Groups, Outcome, Submission};
use crate::metrics::Metrics;
use crate::store::append::{Appender, Ends, Unavailable, Verdict};
use crate::store::database::Database;
use crate::store::stream::{Kind, StreamError, Streams};

/// The queue of one committer.
struct Queue {
    sender: mpsc::UnboundedSender<Submission>,
    /// Each submission in flight holds a clone.
    counted: Arc<()>,
}

impl Queue {
    fn in_flight(&self) -> usize {
        Arc::strong_count(&self.counted) - 1
    }
}

/// Submits events to the committers; cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    queues: Arc<[Queue]>,
    room: Arc<Semaphore>,
}

/// The unit of the queue's capacity.
const ROOM_BYTES: usize = 1024;

impl Writer {
    /// Starts the committers. They end when every clone of the writer is dropped and the queue is empty.
    pub(crate) fn start(config: &Config, shared: &Shared) -> (Self, JoinSet<()>) {
        let mut tasks = JoinSet::new();
        let queues = (0..config.writer.committers)
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                let committer = Committer {
                    shared: shared.clone(),
                    groups: Groups::new(receiver, config.writer.group_events),
                    timeout: Duration::from_millis(config.writer.commit_timeout_ms),
                    appender: None,
                    opening: None,
                    retry_at: None,
                    returns: shared.availability.postgresql_returns(),
                };
                tasks.spawn(committer.run());
                Queue {
                    sender,
                    counted: Arc::default(),
                }
            })
            .collect();
        let room = Arc::new(Semaphore::new(config.writer.queue_bytes / ROOM_BYTES));
        (Self { queues, room }, tasks)
    }

    /// Stores events together or not at all. Dropping the future does not cancel that.
    pub(crate) async fn write(&self, events: Vec<Sealed>) -> Outcome {
        let needed = events
            .iter()
            .map(Sealed::bytes)
            .sum::<usize>()
            .div_ceil(ROOM_BYTES);
        let Some(room) = u32::try_from(needed)
            .ok()
            .and_then(|needed| Arc::clone(&self.room).try_acquire_many_owned(needed).ok())
        else {
            return Outcome::Unavailable("too many writes are waiting");
        };
        let Some(queue) = self.queue_of(&events) else {
            return Outcome::Decided(Verdict::Stored);
        };
        let (reply, outcome) = oneshot::channel();
        let submission = Submission {
            events,
            reply,
            room,
            counted: Arc::clone(&queue.counted),
        };
        if queue.sender.send(submission).is_err() {
            return Outcome::Unavailable("the service is stopping");
        }
        outcome
            .await
            .unwrap_or(Outcome::Unavailable("the service is stopping"))
    }

    /// Events of one correlation go to one committer, so that committers don't wait for each other's locks. A batch
    /// contains many correlations, and is much work: it goes to the least loaded one.
    fn queue_of(&self, events: &[Sealed]) -> Option<&Queue> {
        let first = &events.first()?.event.correlation_id;
        if events.iter().any(|sealed| sealed.event.correlation_id != *first) {
            return self.queues.iter().min_by_key(|queue| queue.in_flight());
        }
        let in_flight: usize = self.queues.iter().map(Queue::in_flight).sum();
        let sharing = (1 + in_flight / ENOUGH_FOR_ONE).min(self.queues.len());
        let mut hasher = DefaultHasher::new();
        first.hash(&mut hasher);
        let number = hasher.finish() % sharing as u64;
        self.queues.get(usize::try_from(number).unwrap_or(0))
    }
}

/// Up to this many concurrent writes go to one committer: a transaction costs PostgreSQL as much as ten of its rows, so
/// that two committers that share few writes take longer than one.
const ENOUGH_FOR_ONE: usize = 24;

/// State that the committers share with the rest of the service.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) database: Database,
    pub(crate) streams: Streams,
    pub(crate) ends: Ends,
    pub(crate) keys: Arc<Keys>,
    pub(crate) availability: Availability,
    pub(crate) metrics: Arc<Metrics>,
}

struct Committer {
    shared: Shared,
    groups: Groups,
    timeout: Duration,
    appender: Option<Appender>,
    /// A connection being opened: a hanging PostgreSQL must not keep groups from the stream.
    opening: Option<JoinHandle<Result<Appender, Unavailable>>>,
    /// Time of the next attempt to connect; `None` unless PostgreSQL is known to be unavailable.
    retry_at: Option<Instant>,
    /// Changes when any user finds PostgreSQL available again since this committer lost it or began to connect.
    returns: watch::Receiver<u64>,
}

/// Delay between attempts to connect.
const RETRY: Duration = Duration::from_millis(250);
impl Committer {
    async fn run(mut self) {
        self.reach().await;
        loop {
            if self.groups.is_empty() && !self.wait_for_more().await {
                return;
            }
            let group = self.groups.next().await;
            if !group.is_empty() {
                self.commit(group).await;
                self.groups.finished();
            }
        }
    }

    /// Waits for a submission; returns whether there may be more. Meanwhile connects to an unavailable PostgreSQL, so
    /// that its return is noticed without a waiting write.
    async fn wait_for_more(&mut self) -> bool {
        if self.appender.is_some() {
            return self.groups.take().await;
        }
        let retry_at = self.retry_at.unwrap_or_else(Instant::now);
        tokio::select! {
            more = self.groups.take() => more,
            () = opened(&mut self.opening, retry_at) => {
                self.reach().await;
                true
            }
            Ok(()) = self.returns.changed() => {
                self.reconnect();
                self.reach().await;
                true
            }
        }
    }

    /// Ensures a connection. Waits for it (at most the time to open one) only unless PostgreSQL is known to be
    /// unavailable: after a restart a new connection is often possible at once.
    async fn reach(&mut self) {
        if self.appender.as_ref().is_some_and(Appender::is_closed) {
            self.appender = None;
            self.retry_at = None;
        }
        if self.appender.is_some() {
            return;
        }
        if self.returns.has_changed().unwrap_or(false) {
            self.reconnect();
        }
        if self.opening.is_none() && self.retry_at.is_none_or(|at| Instant::now() >= at) {
            self.returns.mark_unchanged();
            let Shared { database, ends, .. } = self.shared.clone();
            self.opening = Some(tokio::spawn(async move { Appender::open(&database, ends).await }));
        }
        let Some(opening) = &mut self.opening else { return };
        if self.shared.availability.is_down(Dependency::Postgresql) && !opening.is_finished() {
            return;
        }
        let result = opening.await;
        self.opening = None;
        match result {
            Ok(Ok(appender)) => {
                self.appender = Some(appender);
                self.retry_at = None;
                self.shared.availability.up(Dependency::Postgresql);
                self.returns.mark_unchanged();
            }
            Ok(Err(error)) => self.postgresql_failed(&error),
            Err(error) => self.postgresql_failed(&Unavailable::Failed(error.to_string())),
        }
    }

    /// Another user found PostgreSQL available. A connection that was begun before may hang until its timeout: its
    /// target is gone.
    fn reconnect(&mut self) {
        if let Some(opening) = self.opening.take() {
            opening.abort();
        }
        self.retry_at = None;
    }

    fn postgresql_failed(&mut self, error: &Unavailable) {
        if self.appender.take().is_some() {
            self.returns.mark_unchanged();
        }
        self.retry_at = Some(Instant::now() + RETRY);
        self.shared
            .availability
            .down(Dependency::Postgresql, error.to_string());
    }

    async fn commit(&mut self, group: Vec<Submission>) {
        self.reach().await;
        let begin = Instant::now();
        let mut verdicts = vec![None; group.len()];
        if let Some(appender) = &mut self.appender {
            let units: Vec<&[Sealed]> = group
                .iter()
                .map(|submission| submission.events.as_slice())
                .collect();
            let append = appender.append(&units, &self.shared.keys, &mut verdicts);
            let result = match tokio::time::timeout(self.timeout, append).await {
                Ok(result) => result,
                Err(_) => Err(Unavailable::TimedOut(self.timeout)),
            };
            if let Err(error) = result {
                self.postgresql_failed(&error);
            } else {
                let events = group.iter().map(|submission| submission.events.len()).sum();
                self.shared.metrics.group(events, begin.elapsed());
            }
        }
        self.reply(group, verdicts).await;
    }

    /// Sends PostgreSQL's verdicts, and puts the units without one into the stream.
    async fn reply(&self, group: Vec<Submission>, verdicts: Vec<Option<Verdict>>) {
        let mut unanswered = Vec::new();
        for (submission, verdict) in group.into_iter().zip(verdicts) {
            match verdict {
                // The receiver may be gone.
                Some(verdict) => drop(submission.reply.send(Outcome::Decided(verdict))),
                None => unanswered.push(submission),
            }
        }
        for submission in unanswered {
            let outcome = self.spill(&submission.events).await;
            drop(submission.reply.send(outcome));
        }
    }

    async fn spill(&self, events: &[Sealed]) -> Outcome {
        let contents: Vec<String> = events.iter().map(|sealed| sealed.event.content()).collect();
        let bodies: Vec<&str> = contents.iter().map(String::as_str).collect();
        match self.shared.streams.add(Kind::Events, &bodies).await {
            Ok(()) => {
                self.shared.metrics.spilled(Kind::Events, events.len());
                Outcome::Queued
            }
            Err(StreamError::Full(stream)) => {
                tracing::warn!(
                    stream,
                    "a write is rejected: PostgreSQL is unavailable and the stream is full"
                );
                Outcome::Unavailable("the database is unavailable and the stream is full")
            }
            Err(StreamError::Unavailable(error)) => {
                tracing::warn!(%error, "a write is rejected: neither PostgreSQL nor Redis accepts it");
                self.shared
                    .availability
                    .down(Dependency::Redis, error.to_string());
                Outcome::Unavailable("neither the database nor the stream accepts writes")
            }
        }
    }
}

/// Waits until the connection being opened is ready or failed, or until it is time to open one.
async fn opened(opening: &mut Option<JoinHandle<Result<Appender, Unavailable>>>, retry_at: Instant) {
    while opening.as_ref().is_some_and(|opening| !opening.is_finished()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if opening.is_none() {
        tokio::time::sleep_until(retry_at.into()).await;
    }
}
