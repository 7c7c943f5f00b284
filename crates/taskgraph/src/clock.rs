//! The time since a run began.

use std::time::{Duration, Instant};

/// Real time; in tests one that the test moves, so that a run on threads can be compared with a simulated one.
#[derive(Clone)]
pub(crate) enum Clock {
    Real(Instant),
    #[cfg(test)]
    Moved(std::sync::Arc<std::sync::Mutex<Duration>>),
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self::Real(Instant::now())
    }

    pub(crate) fn now(&self) -> Duration {
        match self {
            Self::Real(origin) => origin.elapsed(),
            #[cfg(test)]
            Self::Moved(now) => *now.lock().unwrap(),
        }
    }
}
