//! Deliveries whose sender got no success: a further delivery of the same bytes continues them, so that no signal is
//! counted twice.
//!
//! Alertmanager sends a whole group again after 503, 504 or a lost connection, although most of its alerts may be
//! counted already. What a sender got a success for is forgotten: the same alert again is a further occurrence.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use service::http::Failure;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::entry::Entry;

/// Maximum number of unfinished deliveries, and of signals in those that ended; the oldest are forgotten first.
const MAX_DELIVERIES: usize = 4_096;
const MAX_ENTRIES: usize = 65_536;

/// The unfinished deliveries; cheap to clone.
#[derive(Clone)]
pub struct Deliveries {
    unfinished: Arc<Mutex<VecDeque<Unfinished>>>,
    window: Duration,
}

struct Unfinished {
    digest: [u8; 32],
    since: Instant,
    work: Work,
}

/// The state of a delivery without a success.
enum Work {
    /// It goes on without its sender.
    Running(Running),
    /// It ended, and some of its signals failed.
    Ended(Vec<Entry>),
}

/// The work of a delivery.
struct Running {
    task: JoinHandle<Vec<Entry>>,
    /// Whether no sender waits, so that results are kept only where a further delivery needs them.
    abandoned: Arc<AtomicBool>,
}

/// A delivery whose sender waits. Dropped before its end, it becomes an unfinished one.
struct Waiting<'a> {
    deliveries: &'a Deliveries,
    digest: [u8; 32],
    running: Option<Running>,
}

impl Deliveries {
    /// Keeps unfinished deliveries for `window`.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self {
            unfinished: Arc::default(),
            window,
        }
    }

    /// Returns the results of a delivery. `work` gets those of an earlier delivery of the same bytes, or none, and
    /// returns all; it completes even when the sender is gone.
    ///
    /// # Errors
    /// The work panicked.
    pub async fn deliver<F>(
        &self,
        body: &[u8],
        work: impl FnOnce(Vec<Entry>) -> F,
    ) -> Result<Vec<Entry>, Failure>
    where
        F: Future<Output = Vec<Entry>> + Send + 'static,
    {
        let digest: [u8; 32] = Sha256::digest(body).into();
        let known = match self.adopt(&digest) {
            Some(Work::Running(running)) => self.wait(digest, running).await?,
            Some(Work::Ended(entries)) => entries,
            None => Vec::new(),
        };
        if !known.is_empty() && known.iter().all(Entry::is_settled) {
            return Ok(known);
        }
        self.wait(digest, Running::start(work(known))).await
    }

    /// Keeps the results of a delivery that its sender will send again.
    pub fn keep(&self, body: &[u8], entries: Vec<Entry>) {
        self.add(Sha256::digest(body).into(), Work::Ended(entries));
    }

    async fn wait(&self, digest: [u8; 32], running: Running) -> Result<Vec<Entry>, Failure> {
        let mut waiting = Waiting {
            deliveries: self,
            digest,
            running: Some(running),
        };
        let result = match &mut waiting.running {
            Some(running) => {
                running.abandoned.store(false, Ordering::Relaxed);
                (&mut running.task).await
            }
            None => Ok(Vec::new()),
        };
        waiting.running = None;
        result.map_err(|error| Failure::internal(&error))
    }

    fn adopt(&self, digest: &[u8; 32]) -> Option<Work> {
        let mut unfinished = self.lock();
        self.expire(&mut unfinished);
        let position = unfinished.iter().position(|known| known.digest == *digest)?;
        unfinished.remove(position).map(|known| known.work)
    }

    fn add(&self, digest: [u8; 32], work: Work) {
        let mut unfinished = self.lock();
        self.expire(&mut unfinished);
        unfinished.push_back(Unfinished {
            digest,
            since: Instant::now(),
            work,
        });
        unfinished.retain_mut(|known| known.work.is_worth_keeping());
        let size = |known: &Unfinished| match &known.work {
            Work::Running(_) => 1,
            Work::Ended(entries) => entries.len(),
        };
        let mut entries: usize = unfinished.iter().map(size).sum();
        while unfinished.len() > MAX_DELIVERIES || entries > MAX_ENTRIES {
            entries -= unfinished.pop_front().as_ref().map_or(entries, size);
        }
    }

    fn expire(&self, unfinished: &mut VecDeque<Unfinished>) {
        while unfinished
            .front()
            .is_some_and(|known| known.since.elapsed() > self.window)
        {
            unfinished.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Unfinished>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn start(work: impl Future<Output = Vec<Entry>> + Send + 'static) -> Self {
        let abandoned = Arc::new(AtomicBool::new(false));
        let is_abandoned = Arc::clone(&abandoned);
        let task = async move {
            let entries = work.await;
            if is_abandoned.load(Ordering::Relaxed) && !is_worth_keeping(&entries) {
                return Vec::new();
            }
            entries
        };
        let task = tokio::spawn(task.in_current_span());
        Self { task, abandoned }
    }
}

impl Work {
    /// Takes over the results of work that ended meanwhile.
    fn is_worth_keeping(&mut self) -> bool {
        if let Self::Running(running) = self {
            match (&mut running.task).now_or_never() {
                None => return true,
                Some(result) => *self = Self::Ended(result.unwrap_or_default()),
            }
        }
        matches!(self, Self::Ended(entries) if is_worth_keeping(entries))
    }
}

/// Whether a further delivery differs from a first one.
fn is_worth_keeping(entries: &[Entry]) -> bool {
    entries
        .iter()
        .any(|entry| entry.is_settled() || entry.id().is_some())
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abandoned.store(true, Ordering::Relaxed);
            self.deliveries.add(self.digest, Work::Running(running));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cause, Error};
    use crate::domain::fingerprint::Fingerprint;
    use crate::gateway::Taken;

    /// A signal that is rejected for good, or fails for a transient reason.
    fn entry(settled: bool) -> Entry {
        let fingerprint = Fingerprint::parse(&"a".repeat(64)).unwrap();
        let detail = String::new();
        let error = if settled {
            Error::Rejected { status: 403, detail }
        } else {
            let retry_after = Duration::from_secs(1);
            let cause = Cause::Throttled;
            Error::Unavailable {
                cause,
                retry_after,
                detail,
            }
        };
        let result = Err(error);
        Entry::taken(
            Taken {
                id: uuid::Uuid::nil(),
                fingerprint,
                result,
            },
            false,
        )
    }

    /// The number of settled results that the work of a delivery gets.
    async fn known(deliveries: &Deliveries, body: &[u8]) -> usize {
        let mut known = 0;
        let work = |entries: Vec<Entry>| {
            known = entries.iter().filter(|entry| entry.is_settled()).count();
            async { vec![entry(true)] }
        };
        deliveries.deliver(body, work).await.unwrap();
        known
    }

    #[tokio::test]
    async fn only_the_next_delivery_of_the_same_bytes_continues() {
        let deliveries = Deliveries::new(Duration::from_secs(60));
        deliveries.keep(b"a", vec![entry(true), entry(false), entry(true)]);
        assert_eq!(known(&deliveries, b"b").await, 0);
        assert_eq!(known(&deliveries, b"a").await, 2);
        assert_eq!(known(&deliveries, b"a").await, 0);
        let brief = Deliveries::new(Duration::ZERO);
        brief.keep(b"a", vec![entry(true), entry(false)]);
        assert_eq!(known(&brief, b"a").await, 0);
    }

    #[tokio::test]
    async fn the_oldest_are_forgotten_first() {
        let deliveries = Deliveries::new(Duration::from_secs(60));
        let many = || {
            (0..MAX_ENTRIES / 2)
                .map(|_| entry(true))
                .chain([entry(false)])
                .collect()
        };
        for body in [b"a", b"b"] {
            deliveries.keep(body, many());
        }
        assert_eq!(known(&deliveries, b"a").await, 0);
        assert_eq!(known(&deliveries, b"b").await, MAX_ENTRIES / 2);
        for number in 0..=MAX_DELIVERIES {
            deliveries.keep(&number.to_be_bytes(), vec![entry(true), entry(false)]);
        }
        assert_eq!(deliveries.lock().len(), MAX_DELIVERIES);
    }

    #[tokio::test]
    async fn work_without_its_sender_is_joined_and_not_repeated() {
        let deliveries = Deliveries::new(Duration::from_secs(60));
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let slow = async {
            let _ = released.await;
            vec![entry(true)]
        };
        let mut first = Box::pin(deliveries.deliver(b"a", |_| slow));
        assert!(futures::poll!(&mut first).is_pending());
        drop(first);
        let again = |_| async { panic!("the work is repeated") };
        let mut second = Box::pin(deliveries.deliver(b"a", again));
        assert!(futures::poll!(&mut second).is_pending());
        release.send(()).unwrap();
        assert_eq!(second.await.unwrap().len(), 1);
        assert!(deliveries.lock().is_empty());
    }

    #[tokio::test]
    async fn results_that_are_not_settled_take_no_memory() {
        let deliveries = Deliveries::new(Duration::from_secs(60));
        for (body, settled) in [(b"a", false), (b"c", true)] {
            let slow = async move {
                tokio::task::yield_now().await;
                vec![entry(settled)]
            };
            let mut abandoned = Box::pin(deliveries.deliver(body, |_| slow));
            assert!(futures::poll!(&mut abandoned).is_pending());
        }
        assert_eq!(deliveries.lock().len(), 2);
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        deliveries.keep(b"b", Vec::new());
        assert_eq!(deliveries.lock().len(), 1);
        let again = deliveries.deliver(b"c", |_| async { Vec::new() });
        assert_eq!(again.await.unwrap().len(), 1, "the settled result");
    }
}
