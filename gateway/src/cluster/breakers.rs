//! Circuit breakers by the cause of failures: one for the connection to the API, and one for each namespace and kind of
//! call that fails. A broken admission webhook of one namespace hinders no other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::breaker::{Breaker, Permit, Settings, State};

/// Maximum number of scopes with a breaker of their own; only failing ones have one.
const MAX_SCOPES: usize = 1_024;

/// What a call is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The namespace of the object.
    pub namespace: String,
    /// The HTTP method: admission webhooks hinder writes, not reads.
    pub method: http::Method,
}

/// What the result of a call says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The API worked, whether or not it accepted the call.
    Works,
    /// Calls of this scope fail; whether others do is unknown.
    ScopeFails,
    /// The API cannot be reached.
    ApiFails,
}

/// The breakers of one API.
#[derive(Debug)]
pub struct Breakers {
    settings: Settings,
    api: Breaker,
    scopes: Mutex<HashMap<Scope, Arc<Breaker>>>,
}

/// Permission for one call; [`Grant::done`] records its result.
#[must_use = "dropping a grant without `done` records nothing"]
pub struct Grant<'a> {
    breakers: &'a Breakers,
    scope: &'a Scope,
    api: Permit<&'a Breaker>,
    own: Option<Permit<Arc<Breaker>>>,
}

impl Breakers {
    /// Creates closed breakers.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            api: Breaker::new(settings),
            scopes: Mutex::default(),
        }
    }

    /// Requests permission for a call.
    ///
    /// # Errors
    /// A breaker is open; contains the time to wait.
    pub fn admit<'a>(&'a self, scope: &'a Scope, now: Instant) -> Result<Grant<'a>, Duration> {
        let own = self.scopes().get(scope).cloned();
        let own = own.map(|breaker| Breaker::admit(breaker, now)).transpose()?;
        Ok(Grant {
            breakers: self,
            scope,
            api: Breaker::admit(&self.api, now)?,
            own,
        })
    }

    /// The state of the connection's breaker.
    #[must_use]
    pub fn state(&self) -> State {
        self.api.state()
    }

    /// The scopes whose breaker is not closed.
    #[must_use]
    pub fn open(&self) -> Vec<Scope> {
        let scopes = self.scopes();
        let open = scopes
            .iter()
            .filter(|(_, breaker)| breaker.state() != State::Closed);
        open.map(|(scope, _)| scope.clone()).collect()
    }

    fn scopes(&self) -> MutexGuard<'_, HashMap<Scope, Arc<Breaker>>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The breaker of a scope that fails.
    fn failing(&self, scope: &Scope, now: Instant) -> Option<Arc<Breaker>> {
        let mut scopes = self.scopes();
        if let Some(breaker) = scopes.get(scope) {
            return Some(Arc::clone(breaker));
        }
        if scopes.len() >= MAX_SCOPES {
            scopes.retain(|_, breaker| !breaker.is_idle(now));
        }
        if scopes.len() >= MAX_SCOPES {
            return None;
        }
        let breaker = Arc::new(Breaker::new(self.settings));
        scopes.insert(scope.clone(), Arc::clone(&breaker));
        Some(breaker)
    }
}

impl Grant<'_> {
    /// Records the result.
    pub fn done(self, verdict: Verdict, now: Instant) {
        match verdict {
            Verdict::Works => {
                self.api.done(true, now);
                if let Some(own) = self.own {
                    own.done(true, now);
                }
            }
            Verdict::ScopeFails => {
                let own = self.own.or_else(|| {
                    let breaker = self.breakers.failing(self.scope, now)?;
                    Breaker::admit(breaker, now).ok()
                });
                if let Some(own) = own {
                    own.done(false, now);
                }
            }
            Verdict::ApiFails => self.api.done(false, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(namespace: &str) -> Scope {
        Scope {
            namespace: namespace.to_owned(),
            method: http::Method::POST,
        }
    }

    fn call(breakers: &Breakers, namespace: &str, verdict: Verdict, now: Instant) -> bool {
        let scope = scope(namespace);
        let grant = breakers.admit(&scope, now);
        grant.map(|grant| grant.done(verdict, now)).is_ok()
    }

    #[test]
    fn failing_namespace_hinders_no_other() {
        let breakers = Breakers::new(Settings::default());
        let now = Instant::now();
        for _ in 0..100 {
            call(&breakers, "bad", Verdict::ScopeFails, now);
            assert!(call(&breakers, "good", Verdict::Works, now));
        }
        assert!(!call(&breakers, "bad", Verdict::Works, now));
        assert_eq!(breakers.open(), [scope("bad")]);
        assert_eq!(breakers.state(), State::Closed);
        let read = Scope {
            method: http::Method::GET,
            ..scope("bad")
        };
        assert!(breakers.admit(&read, now).is_ok(), "reads still work");

        let later = now + Duration::from_secs(31);
        for _ in 0..3 {
            assert!(call(&breakers, "bad", Verdict::Works, later));
        }
        assert_eq!(breakers.open(), []);
    }

    #[test]
    fn unreachable_api_opens_the_circuit_for_all() {
        let breakers = Breakers::new(Settings::default());
        let now = Instant::now();
        for number in 0..10 {
            assert!(call(&breakers, &number.to_string(), Verdict::ApiFails, now));
        }
        assert!(!call(&breakers, "other", Verdict::Works, now));
        assert_eq!((breakers.state(), breakers.open()), (State::Open, Vec::new()));
    }

    #[test]
    fn number_of_scopes_is_bounded() {
        let breakers = Breakers::new(Settings::default());
        let now = Instant::now();
        for number in 0..3 * MAX_SCOPES {
            call(&breakers, &number.to_string(), Verdict::ScopeFails, now);
        }
        assert_eq!(breakers.scopes().len(), MAX_SCOPES);
        call(
            &breakers,
            "later",
            Verdict::ScopeFails,
            now + Duration::from_secs(11),
        );
        assert_eq!(breakers.scopes().len(), 1, "idle ones are discarded");
    }
}
