//! How much is worked on at once, and for how long.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use service::http::Failure;
use tokio::sync::OwnedSemaphorePermit;

use super::App;

/// Held for as long as anything of a request is worked on, also after its client hung up.
pub type InFlight = Arc<OwnedSemaphorePermit>;

/// Tells senders of a body that is too long how long it may be.
pub async fn name_body_limit(State(bytes): State<usize>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE
        && let Some(failure) = response.extensions_mut().get_mut::<Failure>()
    {
        failure.problem.detail = format!("the body is longer than {bytes} bytes");
    }
    response
}

/// Refuses what is too much with 429, and what takes too long with 504.
///
/// # Errors
/// Those two.
pub async fn limit(State(app): State<App>, mut request: Request, next: Next) -> Result<Response, Failure> {
    let Ok(permit) = Arc::clone(&app.in_flight).try_acquire_owned() else {
        let mut failure = Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            "Too many requests",
            "as many requests as can be worked on at once are in flight; send it again",
        );
        failure.retry_after = Some(1);
        return Err(failure);
    };
    request.extensions_mut().insert::<InFlight>(Arc::new(permit));
    tokio::time::timeout(app.deadline, next.run(request))
        .await
        .map_err(|_| {
            Failure::new(
                StatusCode::GATEWAY_TIMEOUT,
                "deadline-exceeded",
                "Deadline exceeded",
                format!(
                    "not done in {} s; send it again, repeats are harmless",
                    app.deadline.as_secs()
                ),
            )
        })
}
