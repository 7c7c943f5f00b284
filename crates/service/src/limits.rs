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
    timeout: Duration,
}

impl Limits {
    /// As `[http]` says.
    #[must_use]
    pub fn new(http: &config::Http) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(http.max_in_flight)),
            max_in_flight: http.max_in_flight,
            timeout: Duration::from_millis(http.request_timeout_ms),
        }
    }

    /// Waits until no request is processed any more.
    pub async fn idle(&self) {
        let all = u32::try_from(self.max_in_flight).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let _ = self.permits.acquire_many(all).await;
    }

    /// Middleware: 429 for too many concurrent requests, 504 after the timeout.
    ///
    /// # Errors
    /// These two.
    pub async fn apply(
        State(limits): State<Self>,
        mut request: Request,
        next: Next,
    ) -> Result<Response, Failure> {
        let Ok(permit) = Arc::clone(&limits.permits).try_acquire_owned() else {
            return Err(Failure::too_many_requests(
                "too many requests are in flight; send it again",
                1,
            ));
        };
        request.extensions_mut().insert::<InFlight>(Arc::new(permit));
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
