//! When and after which delay a call is retried.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The retry policy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Policy {
    /// Maximum number of attempts, including the first.
    pub max_attempts: u32,
    /// The delay after the first attempt in milliseconds; it doubles with each further one.
    pub first_delay_ms: u64,
    /// Maximum time of one attempt in milliseconds.
    pub timeout_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            first_delay_ms: 100,
            timeout_ms: 5_000,
        }
    }
}

/// A longer Retry-After of the server is not waited for: it is passed on to the client.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

impl Policy {
    /// The delay after attempt number `attempt` (from 1) failed with a transient error, or `None` if it was the last.
    /// `retry_after` is the server's; `random` is from 0 to 1.
    #[must_use]
    pub fn delay(&self, attempt: u32, retry_after: Option<Duration>, random: f64) -> Option<Duration> {
        if attempt >= self.max_attempts || retry_after.is_some_and(|retry_after| retry_after > LONGEST_WAIT) {
            return None;
        }
        let doubled = Duration::from_millis(self.first_delay_ms) * 2_u32.saturating_pow(attempt - 1);
        let spread = doubled.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0));
        Some(spread.min(LONGEST_WAIT).max(retry_after.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_attempts_with_doubled_delays_and_a_tenth_of_jitter() {
        let policy = Policy::default();
        assert_eq!(policy.delay(1, None, 0.5), Some(Duration::from_millis(100)));
        assert_eq!(policy.delay(2, None, 0.5), Some(Duration::from_millis(200)));
        assert_eq!(policy.delay(3, None, 0.5), None);
        assert_eq!(policy.delay(1, None, 0.0), Some(Duration::from_millis(90)));
        assert_eq!(policy.delay(1, None, 1.0), Some(Duration::from_millis(110)));
    }

    #[test]
    fn short_retry_after_is_honoured() {
        let policy = Policy::default();
        assert_eq!(
            policy.delay(1, Some(Duration::from_secs(1)), 0.5),
            Some(Duration::from_secs(1))
        );
        assert_eq!(policy.delay(1, Some(Duration::from_secs(30)), 0.5), None);
    }
}
