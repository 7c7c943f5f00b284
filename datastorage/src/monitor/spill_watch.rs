//! Whether the streams are drained and have space, for the log, the metrics and `/readyz`.

use std::time::{Duration, Instant};

use service::health::Status;

use crate::availability::Dependency;
use crate::store::stream::{Kind, StreamState};
use crate::writer::Shared;

/// Interval at which a stuck drain is logged again.
const AGAIN: Duration = Duration::from_secs(300);

/// The oldest entry of each stream, and since when it has been that.
pub(super) struct SpillWatch {
    stuck_after: Duration,
    oldest: Vec<(Kind, String, Instant)>,
    logged: Option<Instant>,
}

impl SpillWatch {
    pub(super) fn new(stuck_after: Duration) -> Self {
        Self {
            stuck_after,
            oldest: Vec::new(),
            logged: None,
        }
    }

    /// Reports the streams, as they are now.
    pub(super) fn report(&mut self, shared: &Shared, states: &[(Kind, StreamState)]) {
        let drainable = !shared.availability.is_down(Dependency::Postgresql);
        let mut details = Vec::new();
        let mut stuck = false;
        for (kind, state) in states {
            let waited = self.waited(*kind, state, drainable, Instant::now());
            let is_stuck = waited.is_some_and(|waited| waited >= self.stuck_after);
            shared.metrics.stuck(*kind, is_stuck);
            if let Some(waited) = waited.filter(|_| is_stuck) {
                stuck = true;
                details.push(format!(
                    "the drain is stuck: the oldest of {} {} was not stored within {} s although PostgreSQL is \
                     available",
                    state.entries,
                    kind.as_str(),
                    waited.as_secs()
                ));
            }
        }
        if stuck && let Some(reason) = shared.availability.drain_failure() {
            details.push(format!("its last error: {reason}"));
        }
        self.log(stuck, &details);
        let bytes = states.iter().map(|(_, state)| state.bytes).max().unwrap_or(0);
        let full = bytes >= shared.streams.max_bytes() / 10 * 9;
        if full {
            details.push(format!(
                "the streams and dead letters have {bytes} of stream.max_bytes = {}: more writes are rejected",
                shared.streams.max_bytes()
            ));
        }
        for (kind, state) in states.iter().filter(|(_, state)| state.dead_letters > 0) {
            details.push(format!(
                "{} {} are dead letters; see datastorage dlq list",
                state.dead_letters,
                kind.as_str()
            ));
        }
        let status = if stuck || full { Status::Down } else { Status::Ok };
        shared.availability.spill(status, details.join("; "));
    }

    /// Since when the oldest entry has been waiting while it could be drained; `None` without entries.
    fn waited(&mut self, kind: Kind, state: &StreamState, drainable: bool, now: Instant) -> Option<Duration> {
        let known = self.oldest.iter().position(|(known, ..)| *known == kind);
        let before = known.map(|index| self.oldest.swap_remove(index));
        let oldest = state.oldest.clone()?;
        let since = match before {
            Some((_, id, since)) if id == oldest && drainable => since,
            _ => now,
        };
        self.oldest.push((kind, oldest, since));
        Some(now.duration_since(since))
    }

    fn log(&mut self, stuck: bool, details: &[String]) {
        if !stuck {
            if self.logged.take().is_some() {
                tracing::info!("the drain is not stuck any more");
            }
        } else if self.logged.is_none_or(|at| at.elapsed() >= AGAIN) {
            self.logged = Some(Instant::now());
            tracing::error!(detail = details.join("; "), "the drain is stuck");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(oldest: Option<&str>) -> StreamState {
        StreamState {
            entries: oldest.iter().count() as u64,
            oldest: oldest.map(str::to_owned),
            dead_letters: 0,
            bytes: 0,
        }
    }

    #[test]
    fn waits_only_while_the_same_entry_could_be_drained() {
        let mut watch = SpillWatch::new(Duration::from_secs(60));
        let begin = Instant::now();
        let mut waited = |oldest, drainable, seconds| {
            let now = begin + Duration::from_secs(seconds);
            let waited = watch.waited(Kind::Events, &state(oldest), drainable, now);
            waited.map(|waited| waited.as_secs())
        };
        assert_eq!(waited(Some("1-0"), true, 0), Some(0));
        assert_eq!(waited(Some("1-0"), true, 70), Some(70));
        assert_eq!(waited(Some("2-0"), true, 80), Some(0), "the first was stored");
        assert_eq!(
            waited(Some("2-0"), false, 90),
            Some(0),
            "PostgreSQL is unavailable"
        );
        assert_eq!(waited(Some("2-0"), true, 95), Some(5));
        assert_eq!(waited(None, true, 99), None);
    }
}
