//! What waits for a committer, made into groups (docs/adr/0044-coalescing-window.md).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use crate::domain::event::Sealed;
use crate::store::append::Verdict;

/// What a caller is told of what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// PostgreSQL answered.
    Answered(Verdict),
    /// It waits in the stream.
    Queued,
    /// Neither store took it, or too much waits already; the text is for the caller.
    Unavailable(&'static str),
}

/// Events that are stored together or not at all, and who waits for them.
pub(crate) struct Submission {
    pub(crate) events: Vec<Sealed>,
    pub(crate) reply: oneshot::Sender<Outcome>,
    /// Its part of the queue's room, given back with it.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) room: OwnedSemaphorePermit,
    /// One of those that are not answered.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) counted: Arc<()>,
}

/// How long after an answer those who were answered are waited for.
const COMPANIONS: Duration = Duration::from_millis(1);
/// A group is not made larger than this.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The receiving end of a committer's queue.
pub(crate) struct Groups {
    receiver: mpsc::UnboundedReceiver<Submission>,
    /// Taken from the queue and in no group yet.
    waiting: VecDeque<Submission>,
    most_events: usize,
    /// How many submissions the last group had, and when they were answered.
    last: usize,
    answered: Instant,
}

impl Groups {
    pub(crate) fn new(receiver: mpsc::UnboundedReceiver<Submission>, most_events: usize) -> Self {
        Self {
            receiver,
            waiting: VecDeque::new(),
            most_events,
            last: 0,
            answered: Instant::now(),
        }
    }

    /// Whether nothing was taken from the queue that is in no group yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits for submissions; `false` when there will be none any more. What is dropped meanwhile has taken none.
    pub(crate) async fn take(&mut self) -> bool {
        let mut taken = Vec::new();
        let received = self.receiver.recv_many(&mut taken, self.most_events).await;
        self.waiting.extend(taken);
        received > 0
    }

    /// The next group, up to its limits: at least one submission, if there is any.
    pub(crate) async fn next(&mut self) -> Vec<Submission> {
        self.wait_for_companions().await;
        while let Ok(submission) = self.receiver.try_recv() {
            self.waiting.push_back(submission);
            if self.waiting.len() >= self.most_events {
                break;
            }
        }
        let mut group: Vec<Submission> = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        while let Some(next) = self.waiting.front() {
            events += next.events.len();
            bytes += next.events.iter().map(Sealed::bytes).sum::<usize>();
            if !group.is_empty() && (events > self.most_events || bytes > MOST_BYTES) {
                break;
            }
            group.extend(self.waiting.pop_front());
        }
        self.last = group.len();
        group
    }

    /// The last group was answered just now.
    pub(crate) fn answered(&mut self) {
        self.answered = Instant::now();
    }

    /// Callers that were answered together write again together, if they do: the first of them must not become a
    /// transaction of its own, for which all the others wait. A caller that is alone waits for nobody.
    async fn wait_for_companions(&mut self) {
        let over = self.answered + COMPANIONS;
        while self.waiting.len() < self.last {
            match tokio::time::timeout_at(over, self.take()).await {
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
                room,
                counted: Arc::default(),
            };
            assert!(queue.send(submission).is_ok());
        }
    }

    /// Groups of a queue whose last group, of so many, was answered just now.
    async fn after(last: usize) -> (mpsc::UnboundedSender<Submission>, Groups) {
        let (queue, receiver) = mpsc::unbounded_channel();
        let mut groups = Groups::new(receiver, 1_000);
        send(&queue, last).await;
        assert_eq!(groups.next().await.len(), last);
        groups.answered();
        (queue, groups)
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_answered_together_is_one_group_again() {
        let (queue, mut groups) = after(16).await;
        let callers = async {
            for _ in 0..16 {
                tokio::time::advance(Duration::from_micros(50)).await;
                send(&queue, 1).await;
            }
        };
        let (group, ()) = tokio::join!(groups.next(), callers);
        assert_eq!(group.len(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_come_back_is_waited_for_a_millisecond_and_then_forgotten() {
        let (queue, mut groups) = after(16).await;
        send(&queue, 3).await;
        let begin = Instant::now();
        assert_eq!(groups.next().await.len(), 3);
        assert!((Duration::from_millis(1)..=Duration::from_millis(2)).contains(&begin.elapsed()));
        groups.answered();
        send(&queue, 3).await;
        let begin = Instant::now();
        assert_eq!((groups.next().await.len(), begin.elapsed()), (3, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_alone_or_comes_late_waits_for_nobody() {
        for (last, idle) in [(1, Duration::ZERO), (16, Duration::from_millis(5))] {
            let (queue, mut groups) = after(last).await;
            tokio::time::advance(idle).await;
            send(&queue, 1).await;
            let begin = Instant::now();
            assert_eq!((groups.next().await.len(), begin.elapsed()), (1, Duration::ZERO));
        }
    }
}
