//! One budget of memory, from which the bounds of its parts follow.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service::config::ConfigError;

use super::Config;

/// Memory.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub(crate) struct Memory {
    /// Maximum memory of the service: the limit of its container, or less. The parts that are 0 follow from it.
    pub(crate) budget_bytes: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            budget_bytes: 256 << 20,
        }
    }
}

/// The program itself under load: code, connections, caches, what the allocator keeps.
const PROGRAM_BYTES: u64 = 48 << 20;

/// The transaction of a committer: its group of 4 MiB, or a batch of a whole body, five times in the statement and the
/// buffers of the connection.
const COMMITTER_BYTES: u64 = 20 << 20;

/// An export: tiles of its proofs, rows and chunks.
const EXPORT_BYTES: u64 = 6 << 20;

/// Memory of a drain's transaction for each of its bytes: entries, events, and the statement.
const DRAIN_COPIES: u64 = 10;

/// Memory of a response for each of its bytes: rows, events, and the buffer that grows.
const ANSWER_COPIES: u64 = 4;

/// Minimum of `writer.queue_bytes`: a batch of a whole body fits.
pub(super) const MIN_QUEUE_BYTES: usize = 8 << 20;

/// Minimum of `stream.drain_group_bytes`.
pub(super) const MIN_DRAIN_GROUP_BYTES: usize = 64 << 10;

/// Parts of 48 that a bound has of the memory beside what is fixed. With their copies 46: the rest is for what is
/// not counted.
const BODIES: u64 = 8;
const QUEUE: u64 = 16;
const ANSWERS: u64 = 3;
const DRAIN_GROUP: u64 = 1;
const WHOLE: u64 = 48;

impl Config {
    /// The memory beside what is fixed.
    fn free_bytes(&self) -> u64 {
        self.memory.budget_bytes.saturating_sub(self.fixed_bytes())
    }

    fn fixed_bytes(&self) -> u64 {
        PROGRAM_BYTES
            + EXPORT_BYTES * self.query.exports as u64
            + COMMITTER_BYTES * self.writer.committers as u64
    }

    /// Gives each bound that is 0 its part of the budget.
    pub(super) fn share_memory(&mut self) {
        let free = self.free_bytes();
        // At least what the other checks allow: a budget that is too small for it is rejected as a whole.
        for (bound, parts, min) in [
            (
                &mut self.http.max_bodies_bytes,
                BODIES,
                2 * self.http.max_body_bytes,
            ),
            (&mut self.writer.queue_bytes, QUEUE, MIN_QUEUE_BYTES),
            (
                &mut self.query.answers_bytes,
                ANSWERS,
                self.query.max_answer_bytes,
            ),
            (
                &mut self.stream.drain_group_bytes,
                DRAIN_GROUP,
                MIN_DRAIN_GROUP_BYTES,
            ),
        ] {
            if *bound == 0 {
                let share = usize::try_from(free * parts / WHOLE).unwrap_or(usize::MAX);
                *bound = share.max(min);
            }
        }
    }

    /// Adds an error if the budget cannot hold its parts.
    pub(super) fn check_memory(&self, errors: &mut Vec<ConfigError>) {
        let parts = [
            ("program, exports and committers", self.fixed_bytes()),
            ("http.max_bodies_bytes", self.http.max_bodies_bytes as u64),
            ("writer.queue_bytes", self.writer.queue_bytes as u64),
            (
                "4 times query.answers_bytes",
                ANSWER_COPIES.saturating_mul(self.query.answers_bytes as u64),
            ),
            (
                "10 times stream.drain_group_bytes",
                DRAIN_COPIES.saturating_mul(self.stream.drain_group_bytes as u64),
            ),
        ];
        let sum = parts
            .iter()
            .fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
        if sum > self.memory.budget_bytes {
            let parts: Vec<String> = parts
                .iter()
                .map(|(name, bytes)| format!("{name} {bytes}"))
                .collect();
            let reason = format!(
                "its parts need {sum}: {}; raise it, or lower them (0: they follow from it)",
                parts.join(", ")
            );
            errors.push(ConfigError::new(
                "memory.budget_bytes",
                self.memory.budget_bytes,
                reason,
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use service::config::parse;

    use super::*;
    use crate::config::PREFIX;

    fn read(text: &str) -> Result<Config, String> {
        parse("test", text, PREFIX, []).map_err(|error| error.to_string())
    }

    #[test]
    fn bounds_follow_from_the_budget_and_fit_into_it() {
        for (budget, bodies) in [
            (192 << 20, 15 << 20),
            (256 << 20, 26 << 20),
            (1024 << 20, 154 << 20),
        ] {
            let config = read(&format!("[memory]\nbudget_bytes = {budget}\n")).unwrap();
            assert!(
                (bodies..bodies + (1 << 20)).contains(&config.http.max_bodies_bytes),
                "{budget}: {}",
                config.http.max_bodies_bytes
            );
            assert_eq!(config.writer.queue_bytes / 2, config.http.max_bodies_bytes);
        }
        let config = read("[writer]\nqueue_bytes = 16777216\n").unwrap();
        assert_eq!(
            (config.writer.queue_bytes, config.query.answers_bytes >> 20),
            (16 << 20, 9)
        );
    }

    #[test]
    fn budget_that_cannot_hold_its_parts_is_rejected_with_each_of_them() {
        let error = read("[writer]\nqueue_bytes = 268435456\n").unwrap_err();
        for part in [
            "memory.budget_bytes = 268435456",
            "writer.queue_bytes 268435456",
            "need 4",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(
            read("[memory]\nbudget_bytes = 1000\n")
                .unwrap_err()
                .contains("its parts need")
        );
    }
}
