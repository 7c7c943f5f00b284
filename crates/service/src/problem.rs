//! Error responses: problem details (RFC 9457), one type and title per kind of error for both services.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use wire::problem::{FieldError, Problem};

/// An error response.
///
/// A handler returns it; [`crate::http::edge`] adds the request's path and id and writes the body.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The body; `instance` and `request_id` are added by [`crate::http::edge`].
    pub problem: Box<Problem>,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    /// `WWW-Authenticate`.
    pub challenge: Option<&'static str>,
}

impl Failure {
    fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            problem: Box::new(Problem::new(status.as_u16(), kind, title, detail)),
            retry_after: None,
            challenge: None,
        }
    }

    fn later(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// 400: the body cannot be read, or fields are invalid; all of them.
    #[must_use]
    pub fn invalid(detail: impl Into<String>, errors: Vec<FieldError>) -> Self {
        let title = "The request is not valid";
        let mut failure = Self::new(StatusCode::BAD_REQUEST, "validation-error", title, detail);
        failure.problem.errors = errors;
        failure
    }

    /// 401: no valid token. `sent`: a token was sent and is invalid (RFC 6750, section 3).
    #[must_use]
    pub fn unauthenticated(detail: impl Into<String>, sent: bool) -> Self {
        let mut failure = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail);
        failure.challenge = Some(if sent {
            "Bearer error=\"invalid_token\""
        } else {
            "Bearer"
        });
        failure
    }

    /// 403: the client lacks the right.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Forbidden", detail)
    }

    /// 404: the resource does not exist.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 405: the path has no such method; the `Allow` header lists its methods.
    #[must_use]
    pub fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            detail,
        )
    }

    /// 409: the request contradicts what is stored.
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Conflict", detail)
    }

    /// 413: the body exceeds the limit.
    #[must_use]
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload-too-large",
            "Body too large",
            detail,
        )
    }

    /// 415: the body has another Content-Type than JSON.
    #[must_use]
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        let title = "Unsupported media type";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            title,
            detail,
        )
    }

    /// 429: too many requests; `retry_after` in seconds.
    #[must_use]
    pub fn too_many_requests(detail: impl Into<String>, retry_after: u64) -> Self {
        let title = "Too many requests";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", title, detail).later(retry_after)
    }

    /// 500: an error of the service. The reason is logged and not sent.
    #[must_use]
    pub fn internal(reason: &(dyn std::fmt::Display + Sync)) -> Self {
        tracing::error!(error = %reason, "request failed");
        Self::internal_with("the service failed; its log has the reason under this request_id")
    }

    /// 500 with a public message; the handler has logged the reason.
    #[must_use]
    pub fn internal_with(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal-error",
            "Internal error",
            detail,
        )
    }

    /// 503: unavailable; `retry_after` in seconds.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>, retry_after: u64) -> Self {
        let title = "Not available now";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service-unavailable",
            title,
            detail,
        )
        .later(retry_after)
    }

    /// 504: not completed in time.
    #[must_use]
    pub fn timeout(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "deadline-exceeded",
            "Deadline exceeded",
            detail,
        )
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
