//! Limits of concurrent requests and of their duration.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;
use crate::problem::Failure;

/// Held while any part of a request is processed, even after its client hung up; in the request's extensions.
pub type InFlight = Arc<OwnedSemaphorePermit>;

/// The limits of an API; cheap to clone.
#[derive(Clone, Debug)]
pub struct Limits {
    permits: Arc<Semaphore>,
    max_in_flight: usize,
    bodies: Bodies,
    timeout: Duration,
}

/// Memory for bodies in flight; in the extensions of a request that goes through [`Limits::apply`].
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    room: Arc<Semaphore>,
    max_body_bytes: usize,
}

/// The unit of the semaphore.
const UNIT: usize = 1024;
/// How often a body counts: as received, and as parsed.
const COPIES: usize = 2;
/// Maximum time that a body waits for memory.
const BODY_WAIT: Duration = Duration::from_secs(2);

impl Bodies {
    fn new(http: &config::Http) -> Self {
        Self {
            room: Arc::new(Semaphore::new(http.max_bodies_bytes / UNIT)),
            max_body_bytes: http.max_body_bytes,
        }
    }

    /// Waits for the memory of a body of `declared` bytes, or of the maximum without a declaration.
    pub(crate) async fn acquire(&self, declared: Option<u64>) -> Result<OwnedSemaphorePermit, Failure> {
        // A longer one is rejected after as much of it.
        let bytes = declared
            .and_then(|declared| usize::try_from(declared).ok())
            .map_or(self.max_body_bytes, |declared| declared.min(self.max_body_bytes));
        let units = u32::try_from((COPIES * bytes).div_ceil(UNIT)).unwrap_or(u32::MAX);
        match tokio::time::timeout(BODY_WAIT, Arc::clone(&self.room).acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Failure::unavailable(
                "the bodies of other requests take all memory for bodies; send it again",
                1,
            )),
        }
    }
}

impl Limits {
    /// As `[http]` says.
    #[must_use]
    pub fn new(http: &config::Http) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(http.max_in_flight)),
            max_in_flight: http.max_in_flight,
            bodies: Bodies::new(http),
            timeout: Duration::from_millis(http.request_timeout_ms),
        }
    }

    /// Waits until no request is processed any more.
    pub async fn idle(&self) {
        let all = u32::try_from(self.max_in_flight).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let _ = self.permits.acquire_many(all).await;
    }

    /// Middleware: 503 for too many concurrent requests, 504 after the timeout. Not 429: Alertmanager does not send again
    /// what got 4xx.
    ///
    /// # Errors
    /// These two.
    pub async fn apply(
        State(limits): State<Self>,
        mut request: Request,
        next: Next,
    ) -> Result<Response, Failure> {
        let Ok(permit) = Arc::clone(&limits.permits).try_acquire_owned() else {
            return Err(Failure::unavailable(
                "too many requests are in flight; send it again",
                1,
            ));
        };
        request.extensions_mut().insert::<InFlight>(Arc::new(permit));
        request.extensions_mut().insert(limits.bodies.clone());
        tokio::time::timeout(limits.timeout, next.run(request))
            .await
            .map_err(|_| {
                Failure::timeout(format!(
                    "not completed within {} ms; send it again, repeats are harmless",
                    limits.timeout.as_millis()
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_are_bounded_in_sum() {
        let bodies = Bodies::new(&config::Http {
            max_body_bytes: 1 << 20,
            max_bodies_bytes: 4 << 20,
            ..config::Http::default()
        });
        let first = bodies.acquire(Some(1 << 20)).await.unwrap();
        // Of unknown length: the maximum.
        let second = bodies.acquire(None).await.unwrap();
        let rejected = bodies.acquire(Some(1)).await.unwrap_err();
        assert_eq!((rejected.status().as_u16(), rejected.retry_after), (503, Some(1)));
        drop(first);
        assert!(bodies.acquire(Some(1 << 40)).await.is_ok());
        drop(second);
    }
}
