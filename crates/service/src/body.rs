//! The body of a request that should be JSON.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use wire::problem::FieldError;

use crate::http::Failure;

/// So much of a body that is too long is read and thrown away: most clients listen for the answer only when all of it
/// is sent, and a connection that is closed before that is all that they see.
const READ_AWAY: usize = 32 << 20;

/// A client that takes longer for it is not waited for.
const READ_AWAY_TIME: Duration = Duration::from_secs(5);

/// A JSON body. Refuses what is not JSON with the line and column, another content type with 415, and a body over
/// the router's limit ([`axum::extract::DefaultBodyLimit`]) with 413.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let detail = format!("the body is not the JSON that is expected here: {error}");
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

/// The bytes of a body that should be JSON: content type and size are checked as for [`JsonBody`], the text is not.
#[derive(Debug)]
pub struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        if let Some(value) = request.headers().get(header::CONTENT_TYPE)
            && !is_json(value)
        {
            let detail = format!("Content-Type is {value:?}; send application/json");
            return Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Unsupported media type",
                detail,
            ));
        }
        let (parts, body) = request.into_parts();
        let body = Lent(Arc::new(Mutex::new(body)));
        let request = Request::from_parts(parts, Body::new(body.clone()));
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                body.read_away().await;
                Err(Failure::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "payload-too-large",
                    "Body too large",
                    "the body is larger than this route takes",
                ))
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

/// A body that can be read on when whoever was reading it has given up.
#[derive(Clone)]
struct Lent(Arc<Mutex<Body>>);

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }
}

impl Lent {
    /// Reads what is still to come, up to the bounds.
    async fn read_away(self) {
        let mut left = READ_AWAY;
        let read = async {
            let mut body = Body::new(self);
            while left > 0
                && let Some(Ok(frame)) =
                    std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
            {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            }
        };
        // The answer is the same, whether the client has sent all or not.
        let _in_time = tokio::time::timeout(READ_AWAY_TIME, read).await;
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::DefaultBodyLimit;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_client_that_sends_all_of_a_long_body_before_it_listens_is_answered() {
        const LENGTH: usize = 16 << 20;
        let routes = Router::new()
            .route("/", post(|_: RawBody| async {}))
            .layer(DefaultBodyLimit::max(20));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, routes).await });

        let mut client = TcpStream::connect(address).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {LENGTH}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b' '; LENGTH]).await.unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
}
