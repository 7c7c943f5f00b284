//! How much the drain stores at once: less after a failure or a slow transaction, more after fast ones.

use std::time::Duration;

use crate::store::stream::Budget;

/// Duration of a transaction that is too long: writes of the same chains wait for it.
const SLOW: Duration = Duration::from_secs(1);

/// The budget of the next transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    max: Budget,
    halvings: u32,
}

impl Pace {
    pub(super) fn new(max: Budget) -> Self {
        Self { max, halvings: 0 }
    }

    pub(super) fn budget(&self) -> Budget {
        Budget {
            entries: (self.max.entries >> self.halvings).max(1),
            bytes: (self.max.bytes >> self.halvings).max(1),
        }
    }

    /// A transaction failed, perhaps because of its size.
    pub(super) fn failed(&mut self) {
        // One entry cannot be halved, and each halving has to be taken back.
        if self.budget().entries > 1 {
            self.halvings += 1;
        }
    }

    /// A transaction took this long.
    pub(super) fn stored(&mut self, duration: Duration) {
        if duration >= SLOW {
            self.failed();
        } else if duration < SLOW / 4 {
            self.halvings = self.halvings.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_shrinks_to_one_entry_and_grows_to_the_configured_one() {
        let max = Budget {
            entries: 500,
            bytes: 4 << 20,
        };
        let mut pace = Pace::new(max);
        pace.failed();
        assert_eq!(
            pace.budget(),
            Budget {
                entries: 250,
                bytes: 2 << 20
            }
        );
        pace.stored(SLOW);
        assert_eq!(pace.budget().entries, 125);
        pace.stored(SLOW / 2);
        assert_eq!(pace.budget().entries, 125, "as fast as it should be");
        for _ in 0..100 {
            pace.failed();
        }
        assert_eq!(pace.budget().entries, 1);
        for _ in 0..9 {
            pace.stored(Duration::ZERO);
        }
        assert_eq!(pace.budget(), max);
    }
}
