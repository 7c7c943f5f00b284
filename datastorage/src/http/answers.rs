//! Memory of responses: bounded for each response and in sum.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::Serialize;
use service::http::Failure;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of the semaphore.
const UNIT: usize = 1024;
/// What a response has from the start: enough for one event of any content, serialized.
pub(super) const FIRST_BYTES: usize = 512 << 10;
/// By this much a response grows.
const STEP_BYTES: usize = 512 << 10;
/// Maximum time that a response waits for memory.
const WAIT: Duration = Duration::from_secs(2);

/// Memory for responses; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    room: Arc<Semaphore>,
    /// Maximum of one response.
    max_bytes: usize,
}

impl Answers {
    /// For `total_bytes` in sum and `max_bytes` for each response.
    pub(crate) fn new(total_bytes: usize, max_bytes: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new((total_bytes / UNIT).min(Semaphore::MAX_PERMITS))),
            max_bytes,
        }
    }

    /// Waits for the memory of a long response of up to `bytes` that is not built in a buffer of its own; 503 if none gets
    /// free. It is held until the returned value is dropped.
    pub(super) async fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
        self.acquire(bytes.min(self.max_bytes)).await
    }

    /// Maximum bytes of one response.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    async fn acquire(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
        let acquire = Arc::clone(&self.room).acquire_many_owned(units);
        match tokio::time::timeout(WAIT, acquire).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Failure::unavailable(
                "too many responses are being sent; send the request again",
                1,
            )),
        }
    }

    /// Waits for the memory of a short response; 503 if none gets free.
    pub(super) async fn begin(&self) -> Result<Answer, Failure> {
        Ok(Answer {
            permit: self.acquire(FIRST_BYTES).await?,
            room: Arc::clone(&self.room),
            max_bytes: self.max_bytes,
            text: Vec::new(),
        })
    }
}

/// A response that is being built within its memory.
pub(super) struct Answer {
    room: Arc<Semaphore>,
    permit: OwnedSemaphorePermit,
    max_bytes: usize,
    text: Vec<u8>,
}

impl Answer {
    /// Appends a part that fits into the first memory.
    pub(super) fn push(&mut self, part: &[u8]) {
        self.text.extend_from_slice(part);
    }

    /// Appends a part, or returns false: the response is at its limit, or there is no more memory now.
    pub(super) fn try_push(&mut self, part: &[u8]) -> bool {
        // What closes the document has its place in the first memory.
        let needed = self.text.len() + part.len() + FIRST_BYTES / 8;
        if !self.grow(needed) {
            return false;
        }
        self.push(part);
        true
    }

    /// Ensures memory for a response of `bytes`.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let held = self.permit.num_permits() * UNIT;
        if bytes > held {
            if bytes > self.max_bytes {
                return false;
            }
            let more = (bytes - held).div_ceil(STEP_BYTES) * STEP_BYTES;
            let units = u32::try_from(more / UNIT).unwrap_or(u32::MAX);
            match Arc::clone(&self.room).try_acquire_many_owned(units) {
                Ok(permit) => self.permit.merge(permit),
                Err(_) => return false,
            }
        }
        // A vector that grows by itself takes up to twice what it holds.
        let wanted = self.permit.num_permits() * UNIT;
        if bytes > self.text.capacity() {
            self.text.reserve_exact(wanted - self.text.len());
        }
        true
    }

    /// A response that was built elsewhere, within memory that is held.
    pub(super) fn of(value: &impl Serialize, permit: OwnedSemaphorePermit) -> Result<Response, Failure> {
        let text = serde_json::to_vec(value).map_err(|error| Failure::internal(&error))?;
        Ok(json(text, permit))
    }

    /// The response. Its memory is returned when its last byte has been handed to the system.
    pub(super) fn json(self) -> Response {
        json(self.text, self.permit)
    }
}

fn json(text: Vec<u8>, permit: OwnedSemaphorePermit) -> Response {
    let body = Bytes::from_owner(Held {
        text,
        _permit: permit,
    });
    let mut response = Response::new(Body::from(body));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

struct Held {
    text: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn responses_are_bounded_each_and_in_sum() {
        let answers = Answers::new(4 << 20, 2 << 20);
        let part = vec![b'a'; 256 << 10];
        let fill = |answer: &mut Answer| (0..100).take_while(|_| answer.try_push(&part)).count();
        let mut first = answers.begin().await.unwrap();
        assert_eq!(fill(&mut first), 7);
        let mut second = answers.begin().await.unwrap();
        assert_eq!(fill(&mut second), 7);
        assert_eq!(answers.begin().await.err().unwrap().retry_after, Some(1));
        let response = first.json();
        assert!(answers.begin().await.is_err(), "the response is not sent yet");
        drop(response);
        assert!(answers.begin().await.is_ok());
    }
}
