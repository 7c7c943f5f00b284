//! Circuit breaker: stops calling a failing API, so that clients get an immediate response and the API can recover.
//!
//! Closed: calls pass and are counted. When enough recent calls failed: open, no call passes for a while. Then a few
//! probes pass; if all succeed it closes, one failure opens it again.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Settings {
    /// Minimum number of calls in the window.
    pub calls: usize,
    /// The ratio of failed calls, 0 to 1, that opens it.
    pub failure_ratio: f64,
    /// The window in milliseconds.
    pub window_ms: u64,
    /// How long it stays open, in milliseconds.
    pub open_ms: u64,
    /// Number of probes that must succeed afterwards.
    pub probes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            calls: 10,
            failure_ratio: 0.5,
            window_ms: 10_000,
            open_ms: 30_000,
            probes: 3,
        }
    }
}

/// The state of a breaker; the numbers are those of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All calls pass.
    Closed = 0,
    /// Only probes pass.
    HalfOpen = 1,
    /// No call passes.
    Open = 2,
}

/// One breaker, shared by all users of the same API.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
enum Inner {
    Closed { calls: VecDeque<(Instant, bool)> },
    Open { until: Instant },
    HalfOpen { running: u32, succeeded: u32 },
}

/// Permission for one call; [`Permit::done`] records its result. Dropping it without `done` records nothing.
#[derive(Debug)]
#[must_use = "dropping a permit without `done` records nothing"]
pub struct Permit<B: Deref<Target = Breaker>> {
    breaker: B,
    probe: bool,
    recorded: bool,
}

impl Breaker {
    /// Creates a closed breaker.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            inner: Mutex::new(Inner::Closed {
                calls: VecDeque::new(),
            }),
        }
    }

    /// Requests permission for a call.
    ///
    /// # Errors
    /// The breaker is open; contains the time to wait.
    pub fn admit<B: Deref<Target = Self>>(breaker: B, now: Instant) -> Result<Permit<B>, Duration> {
        let probe = breaker.admit_probe(now)?;
        Ok(Permit {
            breaker,
            probe,
            recorded: false,
        })
    }

    /// Whether the next call is a probe.
    fn admit_probe(&self, now: Instant) -> Result<bool, Duration> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Inner::Open { until } = *inner {
            match until.checked_duration_since(now) {
                Some(wait) if !wait.is_zero() => return Err(wait),
                _ => {
                    *inner = Inner::HalfOpen {
                        running: 0,
                        succeeded: 0,
                    }
                }
            }
        }
        match &mut *inner {
            Inner::HalfOpen { running, succeeded } if *running + *succeeded >= self.settings.probes => {
                Err(Duration::from_secs(1))
            }
            Inner::HalfOpen { running, .. } => {
                *running += 1;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Whether it is closed and no call of its window is known.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let window = Duration::from_millis(self.settings.window_ms);
        match &*self.inner.lock().unwrap_or_else(PoisonError::into_inner) {
            Inner::Closed { calls } => {
                let last = calls.back();
                last.is_none_or(|(at, _)| now.saturating_duration_since(*at) > window)
            }
            Inner::Open { .. } | Inner::HalfOpen { .. } => false,
        }
    }

    /// The current state.
    #[must_use]
    pub fn state(&self) -> State {
        match &*self.inner.lock().unwrap_or_else(PoisonError::into_inner) {
            Inner::Closed { .. } => State::Closed,
            Inner::HalfOpen { .. } => State::HalfOpen,
            Inner::Open { .. } => State::Open,
        }
    }

    fn record(&self, probe: bool, outcome: Option<bool>, now: Instant) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match &mut *inner {
            Inner::Closed { calls } => outcome.and_then(|success| self.counted(calls, success, now)),
            Inner::HalfOpen { running, succeeded } if probe => {
                *running = running.saturating_sub(1);
                match outcome {
                    Some(false) => Some(self.opened(now)),
                    Some(true) => {
                        *succeeded += 1;
                        (*succeeded >= self.settings.probes).then(|| Inner::Closed {
                            calls: VecDeque::new(),
                        })
                    }
                    None => None,
                }
            }
            // A call from before the opening does not describe the current state.
            Inner::HalfOpen { .. } | Inner::Open { .. } => None,
        };
        if let Some(next) = next {
            *inner = next;
        }
    }

    fn counted(&self, calls: &mut VecDeque<(Instant, bool)>, success: bool, now: Instant) -> Option<Inner> {
        calls.push_back((now, success));
        let window = Duration::from_millis(self.settings.window_ms);
        while calls
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) > window)
        {
            calls.pop_front();
        }
        // Under load the latest hundred calls are representative for the window.
        while calls.len() > 100.max(self.settings.calls) {
            calls.pop_front();
        }
        if success || calls.len() < self.settings.calls {
            return None;
        }
        let failed = calls.iter().filter(|(_, success)| !success).count();
        (failed as f64 >= self.settings.failure_ratio * calls.len() as f64).then(|| self.opened(now))
    }

    fn opened(&self, now: Instant) -> Inner {
        Inner::Open {
            until: now + Duration::from_millis(self.settings.open_ms),
        }
    }
}

impl<B: Deref<Target = Breaker>> Permit<B> {
    /// Records whether the API worked. A rejected or throttled call counts as working.
    pub fn done(mut self, success: bool, now: Instant) {
        self.recorded = true;
        self.breaker.record(self.probe, Some(success), now);
    }
}

impl<B: Deref<Target = Breaker>> Drop for Permit<B> {
    fn drop(&mut self) {
        if !self.recorded {
            self.breaker.record(self.probe, None, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(breaker: &Breaker, success: bool, now: Instant) -> bool {
        Breaker::admit(breaker, now)
            .map(|permit| permit.done(success, now))
            .is_ok()
    }

    #[test]
    fn opens_when_half_of_ten_fail_and_closes_after_three_probes() {
        let breaker = Breaker::new(Settings::default());
        let start = Instant::now();
        for turn in 0..9 {
            assert!(call(&breaker, turn % 2 == 0, start));
        }
        assert_eq!(breaker.state(), State::Closed, "nine calls are below the minimum");
        assert!(call(&breaker, false, start));
        assert_eq!(breaker.state(), State::Open);
        assert_eq!(
            Breaker::admit(&breaker, start).unwrap_err(),
            Duration::from_secs(30)
        );

        let later = start + Duration::from_secs(30);
        let probes: Vec<_> = (0..3).map(|_| Breaker::admit(&breaker, later).unwrap()).collect();
        assert_eq!(breaker.state(), State::HalfOpen);
        assert!(
            Breaker::admit(&breaker, later).is_err(),
            "three probes are enough"
        );
        for probe in probes {
            probe.done(true, later);
        }
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn failed_probe_opens_it_again_and_dropped_one_frees_its_slot() {
        let breaker = Breaker::new(Settings {
            calls: 1,
            ..Settings::default()
        });
        let start = Instant::now();
        assert!(call(&breaker, false, start));
        let later = start + Duration::from_secs(31);
        for _ in 0..10 {
            drop(Breaker::admit(&breaker, later).unwrap());
        }
        assert!(call(&breaker, true, later));
        assert!(call(&breaker, false, later));
        assert_eq!(breaker.state(), State::Open);
    }

    #[test]
    fn failures_outside_the_window_do_not_count() {
        let breaker = Breaker::new(Settings::default());
        let start = Instant::now();
        for _ in 0..9 {
            call(&breaker, false, start);
        }
        call(&breaker, false, start + Duration::from_secs(11));
        assert_eq!(breaker.state(), State::Closed);
    }
}
