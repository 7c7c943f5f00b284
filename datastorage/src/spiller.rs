//! Adds writes to the stream while PostgreSQL is unavailable.

use std::time::Instant;

use tokio::sync::mpsc;

use crate::availability::Dependency;
use crate::group::{Groups, Outcome, Submission};
use crate::metrics::Rejection;
use crate::store::stream::{AddOutcome, Kind, StreamError, Unit};
use crate::writer::Shared;

/// Size of one round trip to the stream: it is in memory twice.
pub(crate) const SPILL_BYTES: usize = 2 << 20;

/// Puts the groups of all committers into the stream while PostgreSQL is unavailable, as many as possible in one round
/// trip: Redis may be slow, and one that waits for its disk handles one trip after another.
pub(crate) struct Spiller {
    shared: Shared,
    groups: Groups,
}

impl Spiller {
    /// Prepares it; the sender is the committers'. It ends when every clone of that is dropped and its queue is empty.
    pub(crate) fn new(shared: Shared, max_events: usize) -> (Self, mpsc::UnboundedSender<Submission>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let groups = Groups::new(receiver, max_events, SPILL_BYTES);
        (Self { shared, groups }, sender)
    }

    pub(crate) async fn run(mut self) {
        while !self.groups.is_empty() || self.groups.take().await {
            let mut group = self.groups.next().await;
            retain_waiting(&mut group);
            if group.is_empty() {
                continue;
            }
            let begin = Instant::now();
            let units: Vec<Unit> = group.iter().map(|submission| unit(submission, false)).collect();
            let results = self.shared.streams.add_units(Kind::Events, &units).await;
            self.shared.spilled(group, results);
            self.groups.finished_trip(begin.elapsed());
        }
    }
}

/// Removes the submissions whose writers have got their response.
pub(crate) fn retain_waiting(group: &mut Vec<Submission>) {
    let now = tokio::time::Instant::now();
    group.retain(|submission| submission.deadline > now);
}

/// What is added to the stream.
pub(crate) fn unit(submission: &Submission, behind: bool) -> Unit {
    Unit {
        bodies: (submission.events.iter())
            .map(|sealed| sealed.event.content())
            .collect(),
        behind,
    }
}

impl Shared {
    /// Logs and counts a write that the stream did not accept while PostgreSQL is unavailable.
    pub(crate) fn not_spilled(&self, error: &StreamError) -> Rejection {
        tracing::warn!(%error, "a write is rejected: neither PostgreSQL nor Redis accepts it");
        let rejection = match error {
            StreamError::Full(_) => Rejection::StreamFull,
            StreamError::OutOfMemory(_) => Rejection::RedisFull,
            StreamError::Unavailable(error) => {
                self.availability.down(Dependency::Redis, error.to_string());
                Rejection::Unavailable
            }
        };
        self.metrics.rejected(rejection);
        rejection
    }

    /// Sends the outcomes of one round trip to the stream. Returns the submissions that may only be added behind another
    /// entry, and found none.
    pub(crate) fn spilled(
        &self,
        group: Vec<Submission>,
        results: Result<Vec<AddOutcome>, StreamError>,
    ) -> Vec<Submission> {
        let reject = |submission: Submission, error: &StreamError| {
            let message = self.not_spilled(error).message();
            drop(submission.reply.send(Outcome::Unavailable(message)));
        };
        let mut behind_nothing = Vec::new();
        match results {
            Ok(results) => {
                for (submission, outcome) in group.into_iter().zip(results) {
                    match outcome {
                        AddOutcome::BehindNothing => behind_nothing.push(submission),
                        AddOutcome::Added => {
                            self.metrics.spilled(Kind::Events, submission.events.len());
                            drop(submission.reply.send(Outcome::Queued));
                        }
                        AddOutcome::Full => reject(submission, &StreamError::Full(Kind::Events.stream())),
                    }
                }
            }
            Err(error) => group
                .into_iter()
                .for_each(|submission| reject(submission, &error)),
        }
        behind_nothing
    }
}
