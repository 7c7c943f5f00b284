//! When a call is tried again, and after how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often and how patiently.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Tries in all, the first included.
    pub tries: u32,
    /// The wait after the first try; it doubles with each further one.
    pub first_delay_ms: u64,
    /// How long one try may take.
    pub timeout_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tries: 3,
            first_delay_ms: 100,
            timeout_ms: 5_000,
        }
    }
}

/// A server that asks for more patience than this is not waited for: the sender is told instead.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

impl Policy {
    /// The wait after try number `tried` (1 is the first) failed for a passing reason, or none if it was the last.
    /// `asked` is the server's Retry-After; `random` is from 0 to 1.
    #[must_use]
    pub fn delay(&self, tried: u32, asked: Option<Duration>, random: f64) -> Option<Duration> {
        if tried >= self.tries || asked.is_some_and(|asked| asked > LONGEST_WAIT) {
            return None;
        }
        let doubled = Duration::from_millis(self.first_delay_ms) * 2_u32.saturating_pow(tried - 1);
        let spread = doubled.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0));
        Some(spread.min(LONGEST_WAIT).max(asked.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_tries_with_doubled_waits_a_tenth_around() {
        let policy = Policy::default();
        assert_eq!(policy.delay(1, None, 0.5), Some(Duration::from_millis(100)));
        assert_eq!(policy.delay(2, None, 0.5), Some(Duration::from_millis(200)));
        assert_eq!(policy.delay(3, None, 0.5), None);
        assert_eq!(policy.delay(1, None, 0.0), Some(Duration::from_millis(90)));
        assert_eq!(policy.delay(1, None, 1.0), Some(Duration::from_millis(110)));
    }

    #[test]
    fn what_the_server_asks_for_is_kept_if_it_is_short() {
        let policy = Policy::default();
        assert_eq!(
            policy.delay(1, Some(Duration::from_secs(1)), 0.5),
            Some(Duration::from_secs(1))
        );
        assert_eq!(policy.delay(1, Some(Duration::from_secs(30)), 0.5), None);
    }
}
