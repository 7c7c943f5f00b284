//! Groups the submissions of a committer (docs/adr/0044-coalescing-window.md).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use crate::domain::event::Sealed;
use crate::store::append::Verdict;

/// The result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// PostgreSQL's verdict.
    Decided(Verdict),
    /// It waits in the stream.
    Queued,
    /// Neither store accepts it, or the service is stopping; the text is the public message.
    Unavailable(&'static str),
}

/// Events that are stored together or not at all, and their writer.
pub(crate) struct Submission {
    pub(crate) events: Vec<Sealed>,
    pub(crate) reply: oneshot::Sender<Outcome>,
    /// Its writer does not wait longer.
    pub(crate) deadline: Instant,
    /// Its share of the queue, released on drop.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) room: OwnedSemaphorePermit,
    /// Counts the submission as in flight until it is dropped.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) counted: Arc<()>,
}

/// The coalescing window after a response.
const COALESCING_WINDOW: Duration = Duration::from_millis(1);
/// Maximum size of a transaction's group; a larger batch is one of its own. PostgreSQL's client holds it several times.
pub(crate) const COMMIT_BYTES: usize = 4 << 20;

/// The receiving end of a committer's queue.
pub(crate) struct Groups {
    receiver: mpsc::UnboundedReceiver<Submission>,
    /// Received and not yet in a group.
    waiting: VecDeque<Submission>,
    max_events: usize,
    max_bytes: usize,
    /// Number of writers that are expected to write again, and until when.
    expected: usize,
    over: Instant,
}

impl Groups {
    pub(crate) fn new(
        receiver: mpsc::UnboundedReceiver<Submission>,
        max_events: usize,
        max_bytes: usize,
    ) -> Self {
        Self {
            receiver,
            waiting: VecDeque::new(),
            max_events,
            max_bytes,
            expected: 0,
            over: Instant::now(),
        }
    }

    /// Whether every received submission is in a group.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits for submissions; `false` when the queue is closed. Dropping the future loses none.
    pub(crate) async fn take(&mut self) -> bool {
        let mut taken = Vec::new();
        let received = self.receiver.recv_many(&mut taken, self.max_events).await;
        self.waiting.extend(taken);
        received > 0
    }

    /// The next group, within its limits: at least one submission, if there is any.
    pub(crate) async fn next(&mut self) -> Vec<Submission> {
        self.coalesce().await;
        while let Ok(submission) = self.receiver.try_recv() {
            self.waiting.push_back(submission);
            if self.waiting.len() >= self.max_events {
                break;
            }
        }
        let mut group: Vec<Submission> = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        while let Some(next) = self.waiting.front() {
            events += next.events.len();
            bytes += next.events.iter().map(Sealed::bytes).sum::<usize>();
            if !group.is_empty() && (events > self.max_events || bytes > self.max_bytes) {
                break;
            }
            group.extend(self.waiting.pop_front());
        }
        self.expected = group.len();
        group
    }

    /// Records that the last group was acknowledged.
    pub(crate) fn finished(&mut self) {
        self.over = Instant::now() + COALESCING_WINDOW;
    }

    /// Records that the last group was acknowledged after a round trip of this duration. Its writers and those that wait
    /// form one group within a share of that duration: otherwise they would take turns, and wait for two round trips.
    pub(crate) fn finished_trip(&mut self, duration: Duration) {
        self.expected += self.waiting.len() + self.receiver.len();
        self.over = Instant::now() + duration / 6;
    }

    /// Writers that were acknowledged together usually write again together: the first of them must not become a
    /// transaction of its own, for which all the others wait. A single writer does not wait.
    async fn coalesce(&mut self) {
        while self.waiting.len() < self.expected {
            match tokio::time::timeout_at(self.over, self.take()).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    async fn send(queue: &mpsc::UnboundedSender<Submission>, count: usize) {
        for _ in 0..count {
            let room = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
            let submission = Submission {
                events: Vec::new(),
                reply: oneshot::channel().0,
                deadline: Instant::now(),
                room,
                counted: Arc::default(),
            };
            assert!(queue.send(submission).is_ok());
        }
    }

    /// Groups of a queue whose last group, of this size, was acknowledged just now.
    async fn after(last: usize) -> (mpsc::UnboundedSender<Submission>, Groups) {
        let (queue, receiver) = mpsc::unbounded_channel();
        let mut groups = Groups::new(receiver, 1_000, COMMIT_BYTES);
        send(&queue, last).await;
        assert_eq!(groups.next().await.len(), last);
        groups.finished();
        (queue, groups)
    }

    #[tokio::test(start_paused = true)]
    async fn writers_acknowledged_together_form_one_group_again() {
        let (queue, mut groups) = after(16).await;
        let writers = async {
            for _ in 0..16 {
                tokio::time::advance(Duration::from_micros(50)).await;
                send(&queue, 1).await;
            }
        };
        let (group, ()) = tokio::join!(groups.next(), writers);
        assert_eq!(group.len(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn window_ends_after_a_millisecond_without_the_missing_writers() {
        let (queue, mut groups) = after(16).await;
        send(&queue, 3).await;
        let begin = Instant::now();
        assert_eq!(groups.next().await.len(), 3);
        assert!((Duration::from_millis(1)..=Duration::from_millis(2)).contains(&begin.elapsed()));
        groups.finished();
        send(&queue, 3).await;
        let begin = Instant::now();
        assert_eq!((groups.next().await.len(), begin.elapsed()), (3, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn writers_of_a_round_trip_join_those_that_waited_for_it() {
        let (queue, mut groups) = after(16).await;
        send(&queue, 16).await;
        groups.finished_trip(Duration::from_millis(60));
        let writers = async {
            tokio::time::advance(Duration::from_millis(5)).await;
            send(&queue, 16).await;
        };
        let (group, ()) = tokio::join!(groups.next(), writers);
        assert_eq!(group.len(), 32);
    }

    #[tokio::test(start_paused = true)]
    async fn single_and_late_writers_do_not_wait() {
        for (last, idle) in [(1, Duration::ZERO), (16, Duration::from_millis(5))] {
            let (queue, mut groups) = after(last).await;
            tokio::time::advance(idle).await;
            send(&queue, 1).await;
            let begin = Instant::now();
            assert_eq!((groups.next().await.len(), begin.elapsed()), (1, Duration::ZERO));
        }
    }
}
