//! The group committer: writes that arrive during a transaction form the next one.
//!
//! A write to an idle service is committed at once, so that it responds as fast as the disk; under load groups grow by
//! themselves, and clients that write repeatedly stay together in one
//! (docs/adr/0044-coalescing-window.md). The committers own accepted writes: a client that hangs up changes
//! nothing. While PostgreSQL is unavailable their groups go to the spiller, which adds them to the stream in the same order.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tlog::SignerKey;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::availability::{Availability, Dependency};
use crate::config::Config;
use crate::domain::event::Sealed;
use crate::domain::trust::Trust;
use crate::group::{COMMIT_BYTES, Groups, Outcome, Submission};
use crate::metrics::{Metrics, Rejection};
use crate::spiller::{SPILL_BYTES, Spiller, retain_waiting, unit};
use crate::store::append::{Appender, Ends, Unavailable, Verdict};
use crate::store::database::Database;
use crate::store::stream::{Kind, Streams, Unit};

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
    timeout: Duration,
    metrics: Arc<Metrics>,
}

/// The unit of the queue's capacity.
const ROOM_BYTES: usize = 1024;

/// Maximum time that a write waits for room in the queue: a burst of large events passes, an overload is reported.
const ROOM_WAIT: Duration = Duration::from_secs(2);

impl Writer {
    /// Starts the committers. They end when every clone of the writer is dropped and the queue is empty.
    pub(crate) fn start(config: &Config, shared: &Shared) -> (Self, JoinSet<()>) {
        let mut tasks = JoinSet::new();
        let (spilling, spiller) = Spiller::new(shared.clone(), config.writer.group_events);
        tasks.spawn(spilling.run());
        let queues = (0..config.writer.committers)
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                let committer = Committer {
                    shared: shared.clone(),
                    groups: Groups::new(receiver, config.writer.group_events, COMMIT_BYTES),
                    spiller: spiller.clone(),
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
        let writer = Self {
            queues,
            room,
            timeout: Duration::from_millis(config.writer.write_timeout_ms),
            metrics: Arc::clone(&shared.metrics),
        };
        (writer, tasks)
    }

    /// Stores events together or not at all, within the time of a write. Dropping the future does not cancel that. `body`
    /// counts their memory until they have room in the queue.
    pub(crate) async fn write(&self, events: Vec<Sealed>, body: Bytes) -> Outcome {
        let deadline = tokio::time::Instant::now() + self.timeout;
        let needed = events
            .iter()
            .map(Sealed::bytes)
            .sum::<usize>()
            .div_ceil(ROOM_BYTES);
        let needed = u32::try_from(needed).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(needed);
        let Ok(Ok(room)) = tokio::time::timeout(ROOM_WAIT.min(self.timeout / 2), room).await else {
            return self.reject(Rejection::QueueFull);
        };
        drop(body);
        let Some(queue) = self.queue_of(&events) else {
            return Outcome::Decided(Verdict::Stored);
        };
        let (reply, outcome) = oneshot::channel();
        let submission = Submission {
            events,
            reply,
            deadline,
            room,
            counted: Arc::clone(&queue.counted),
        };
        if queue.sender.send(submission).is_err() {
            return Outcome::Unavailable("the service is stopping");
        }
        match tokio::time::timeout_at(deadline, outcome).await {
            Ok(outcome) => outcome.unwrap_or(Outcome::Unavailable("the service is stopping")),
            Err(_) => self.reject(Rejection::Timeout),
        }
    }

    fn reject(&self, rejection: Rejection) -> Outcome {
        self.metrics.rejected(rejection);
        Outcome::Unavailable(rejection.message())
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
    /// What verification trusts; its HMAC keys are those of writing.
    pub(crate) trust: Arc<Trust>,
    /// Signs the transparency log, and exports.
    pub(crate) log_key: Option<Arc<SignerKey>>,
    pub(crate) availability: Availability,
    pub(crate) metrics: Arc<Metrics>,
    /// Maximum time of a commit.
    pub(crate) commit_timeout: Duration,
}

struct Committer {
    shared: Shared,
    groups: Groups,
    spiller: mpsc::UnboundedSender<Submission>,
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

    /// Ensures a connection. Waits for it (at most the time of a commit) only unless PostgreSQL is known to be
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
        let limit = self.shared.commit_timeout;
        let Ok(result) = tokio::time::timeout(limit, opening).await else {
            self.postgresql_failed(&Unavailable::TimedOut(limit));
            return;
        };
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

    async fn commit(&mut self, mut group: Vec<Submission>) {
        retain_waiting(&mut group);
        let children = self.append(group).await;
        let children = children.into_iter().map(|(child, _)| child).collect();
        let drained = self.follow(children).await;
        // The stream was empty after their parents were looked up: these are stored by now, or nowhere.
        if !drained.is_empty() {
            for (child, verdict) in self.append(drained).await {
                drop(child.reply.send(Outcome::Decided(verdict)));
            }
        }
    }

    /// Stores a group and sends the verdicts. Submissions without one go to the spiller; those with a missing parent are
    /// returned.
    async fn append(&mut self, group: Vec<Submission>) -> Vec<(Submission, Verdict)> {
        self.reach().await;
        let begin = Instant::now();
        let mut verdicts = vec![None; group.len()];
        if let Some(appender) = &mut self.appender {
            let units: Vec<&[Sealed]> = group
                .iter()
                .map(|submission| submission.events.as_slice())
                .collect();
            let append = appender.append(&units, &self.shared.trust.chain, &mut verdicts);
            let limit = self.shared.commit_timeout;
            let result = match tokio::time::timeout(limit, append).await {
                Ok(result) => result,
                Err(_) => Err(Unavailable::TimedOut(limit)),
            };
            if let Err(error) = result {
                self.postgresql_failed(&error);
            } else {
                let events = group.iter().map(|submission| submission.events.len()).sum();
                self.shared.metrics.group(events, begin.elapsed());
            }
        }
        let mut children = Vec::new();
        for (submission, verdict) in group.into_iter().zip(verdicts) {
            match verdict {
                // The spiller ends after its committers.
                None => drop(self.spiller.send(submission)),
                Some(verdict @ Verdict::MissingParent { .. }) => children.push((submission, verdict)),
                // The receiver may be gone.
                Some(verdict) => drop(submission.reply.send(Outcome::Decided(verdict))),
            }
        }
        children
    }

    /// Puts submissions with a missing parent into the stream, behind other entries, which may be the parent. Returns those
    /// that find the stream empty.
    async fn follow(&self, children: Vec<Submission>) -> Vec<Submission> {
        // Writes that need no Redis must not wait for it.
        if self.shared.availability.is_down(Dependency::Redis) {
            let rejection = Rejection::Unavailable;
            for child in children {
                self.shared.metrics.rejected(rejection);
                drop(child.reply.send(Outcome::Unavailable(rejection.message())));
            }
            return Vec::new();
        }
        let mut behind_nothing = Vec::new();
        let mut children = children.into_iter().peekable();
        while children.peek().is_some() {
            let (mut trip, mut bytes) = (Vec::new(), 0);
            while let Some(child) = children.next_if(|child| {
                bytes += child.events.iter().map(Sealed::bytes).sum::<usize>();
                trip.is_empty() || bytes <= SPILL_BYTES
            }) {
                trip.push(child);
            }
            let units: Vec<Unit> = trip.iter().map(|child| unit(child, true)).collect();
            let results = self.shared.streams.add_units(Kind::Events, &units).await;
            behind_nothing.extend(self.shared.spilled(trip, results));
        }
        behind_nothing
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
