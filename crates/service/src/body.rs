//! JSON bodies of requests.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use http_body::SizeHint;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use wire::problem::FieldError;

use crate::limits::Bodies;
use crate::problem::Failure;

/// Maximum bytes of a rejected body that are read and dropped: most clients read the response only after they have sent
/// everything, and only see the connection close before that.
const DRAIN_BYTES: usize = 32 << 20;

/// Maximum time to drain.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// A JSON body. Rejects invalid JSON with line and column, another content type with 415, and a body over
/// the route's limit ([`crate::http::body_limit`]) with 413.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let detail = format!("the body is not the expected JSON: {error}");
            let message = error.to_string();
            Failure::invalid(
                detail,
                vec![FieldError {
                    field: "body".to_owned(),
                    message,
                }],
            )
        })
    }
}

/// A body with its part of the memory for bodies, which is returned when its last clone is dropped.
struct Held {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The bytes of a JSON body: content type and size are checked as for [`JsonBody`], the text is not. They occupy memory
/// of `http.max_bodies_bytes` until they are dropped.
#[derive(Debug)]
pub struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        if let Some(value) = request.headers().get(header::CONTENT_TYPE)
            && !is_json(value)
        {
            let detail = format!("Content-Type is {value:?}; send application/json");
            return Err(Failure::unsupported_media_type(detail));
        }
        let room = match request.extensions().get::<Bodies>().cloned() {
            Some(bodies) => Some(bodies.acquire(request.body().size_hint().exact()).await?),
            None => None,
        };
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(Bytes::from_owner(Held { bytes, _room: room }))),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Failure::too_large("the body exceeds the limit of this route"))
            }
            Err(_) => Err(Failure::invalid(
                "the body ended before all of it arrived",
                Vec::new(),
            )),
        }
    }
}

fn is_json(value: &HeaderValue) -> bool {
    value
        .to_str()
        .ok()
        .and_then(|text| text.split(';').next())
        .map(|essence| essence.trim().to_ascii_lowercase())
        .is_some_and(|essence| {
            essence == "application/json"
                || (essence.starts_with("application/") && essence.ends_with("+json"))
        })
}

/// A body that can be read further after its request was rejected.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Body>>);

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.body()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}

impl Shared {
    /// The request with its body, which can be read further through the other part.
    pub(crate) fn of(request: Request) -> (Request, Self) {
        let (parts, body) = request.into_parts();
        let body = Self(Arc::new(Mutex::new(body)));
        (Request::from_parts(parts, Body::new(body.clone())), body)
    }

    fn body(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the rest, up to the bounds; returns whether that was all.
    pub(crate) async fn drain(mut self) -> bool {
        let mut left = DRAIN_BYTES;
        let read = async {
            while left > 0 && !self.is_end_stream() {
                match std::future::poll_fn(|context| Pin::new(&mut self).poll_frame(context)).await {
                    Some(Ok(frame)) => left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len)),
                    Some(Err(_)) => return false,
                    None => return true,
                }
            }
            self.is_end_stream()
        };
        tokio::time::timeout(DRAIN_TIME, read).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::DefaultBodyLimit;
    use axum::middleware::from_fn_with_state;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::limits::Limits;

    /// Most clients read the response only after they have sent everything.
    #[tokio::test]
    async fn client_that_sends_a_long_body_before_reading_gets_the_response() {
        const LENGTH: usize = 16 << 20;
        let limits = Limits::new(&crate::config::Http {
            max_body_bytes: 1 << 20,
            max_bodies_bytes: 1,
            ..Default::default()
        });
        let no_memory = Router::new()
            .route("/", post(|_: RawBody| async {}))
            .layer(from_fn_with_state(limits, Limits::apply));
        let rejected = || async { Failure::not_found("nothing here") };
        for (routes, status) in [
            (
                Router::new()
                    .route("/", post(|_: RawBody| async {}))
                    .layer(DefaultBodyLimit::max(20)),
                "413",
            ),
            (no_memory, "503"),
            (Router::new().route("/", post(rejected)), "404"),
            (Router::new().route("/", get(rejected)), "405"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let routes = crate::http::edge(routes, |_, _, _, _| {});
            tokio::spawn(async { axum::serve(listener, routes).await });

            let mut client = TcpStream::connect(address).await.unwrap();
            let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {LENGTH}\r\n\r\n");
            client.write_all(head.as_bytes()).await.unwrap();
            client.write_all(&vec![b' '; LENGTH]).await.unwrap();
            let mut answer = [0; 12];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
        }
    }
}
