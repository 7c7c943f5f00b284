//! What every answer of the API has: a request id, security headers, one access-log line, and problem details for
//! errors.
//!
//! A handler returns [`Failure`]; the request's path and id are written into it on its way out ([`edge`]), so that no
//! handler carries them.

use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tracing::Instrument;
use uuid::Uuid;
use wire::problem::{FieldError, MEDIA_TYPE, Problem};

pub use crate::body::{JsonBody, RawBody};

/// The header that carries the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An answer that is a problem.
///
/// Use the constructors for what every service has; [`Failure::new`] for a kind of its own.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The body; `instance` and `request_id` are filled in by [`edge`].
    pub problem: Box<Problem>,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
}

impl Failure {
    /// A problem of a kind of the service's own.
    #[must_use]
    pub fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            problem: Box::new(Problem::new(status.as_u16(), kind, title, detail)),
            retry_after: None,
        }
    }

    /// 400: the body can't be read, or fields are wrong; all of them.
    #[must_use]
    pub fn invalid(detail: impl Into<String>, errors: Vec<FieldError>) -> Self {
        let mut failure = Self::new(
            StatusCode::BAD_REQUEST,
            "validation-error",
            "The request is not valid",
            detail,
        );
        failure.problem.errors = errors;
        failure
    }

    /// 404: the thing is not there.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 409: it contradicts what is there.
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Conflict", detail)
    }

    /// 503: not now; come again in so many seconds.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>, retry_after: u64) -> Self {
        let mut failure = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service-unavailable",
            "Not available now",
            detail,
        );
        failure.retry_after = Some(retry_after);
        failure
    }

    /// 500: a fault of ours. The reason goes to the log and not to the caller.
    #[must_use]
    pub fn internal(reason: &(dyn std::fmt::Display + Sync)) -> Self {
        tracing::error!(error = %reason, "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal-error",
            "Internal error",
            "the service failed; its log has the reason under this request_id",
        )
    }

    /// The status of the answer.
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

/// Wraps the routes of an API: 404 and 405 as problems, request ids, security headers, the access log.
///
/// `observe` is told of each answer once: endpoint (the route's pattern, never the raw path, so that it is bounded),
/// method, status, seconds.
pub fn edge<F>(routes: Router, observe: F) -> Router
where
    F: Fn(&str, &str, u16, f64) + Clone + Send + Sync + 'static,
{
    routes
        .fallback(|request: Request| async move {
            Failure::not_found(format!(
                "there is nothing at {}; /openapi.json lists the routes",
                request.uri().path()
            ))
        })
        .method_not_allowed_fallback(|request: Request| async move {
            Failure::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
                format!(
                    "{} does not take {}; see the Allow header",
                    request.uri().path(),
                    request.method()
                ),
            )
        })
        .layer(middleware::from_fn(move |request, next| {
            answer(request, next, observe.clone())
        }))
}

async fn answer<F: Fn(&str, &str, u16, f64)>(request: Request, next: Next, observe: F) -> Response {
    let begin = Instant::now();
    let id = Uuid::new_v4().to_string();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let endpoint = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let span = tracing::info_span!("request", request_id = %id);
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        response = render(failure, response, &path, &id);
    }
    harden(&mut response, &id);
    let seconds = begin.elapsed().as_secs_f64();
    let status = response.status().as_u16();
    observe(&endpoint, method.as_str(), status, seconds);
    span.in_scope(|| {
        tracing::info!(target: "access", request_id = %id, method = %method, endpoint, status, duration_ms = seconds * 1e3, "request");
    });
    response
}

/// The problem as the body; headers that the answer already has (such as Allow) stay.
fn render(failure: Failure, mut response: Response, path: &str, id: &str) -> Response {
    let retry_after = failure.retry_after;
    let mut problem = *failure.problem;
    path.clone_into(&mut problem.instance);
    id.clone_into(&mut problem.request_id);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.remove(header::CONTENT_LENGTH);
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.status == StatusCode::PAYLOAD_TOO_LARGE.as_u16() {
        // Not all of the body may have been read, so the connection ends here: a client that is not told sends its next
        // request into it.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    *response.body_mut() = Body::from(body);
    response
}

fn harden(response: &mut Response, id: &str) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000; includeSubDomains"),
    );
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // A page of the service's own may say more exactly what it needs.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::DefaultBodyLimit;
    use axum::routing::post;
    use std::sync::{Arc, Mutex};
    use tower::ServiceExt;

    type Seen = Arc<Mutex<Vec<(String, String, u16)>>>;

    fn routes(seen: &Seen) -> Router {
        let seen = Arc::clone(seen);
        let routes = Router::new()
            .route(
                "/things/{id}",
                post(|JsonBody(body): JsonBody<Vec<u8>>| async move { format!("{}", body.len()) }),
            )
            .route("/later", post(|| async { Failure::unavailable("not yet", 7) }))
            .layer(DefaultBodyLimit::max(20));
        edge(routes, move |endpoint, method, status, _| {
            seen.lock()
                .unwrap()
                .push((endpoint.to_owned(), method.to_owned(), status));
        })
    }

    async fn send(method: &str, path: &str, kind: Option<&str>, body: &str) -> (Response, Seen) {
        let seen = Seen::default();
        let mut request = Request::builder().method(method).uri(path);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let response = routes(&seen)
            .oneshot(request.body(Body::from(body.to_owned())).unwrap())
            .await
            .unwrap();
        (response, seen)
    }

    async fn problem(response: Response) -> Problem {
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        let id = response.headers()[REQUEST_ID].to_str().unwrap().to_owned();
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let problem: Problem = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(problem.request_id, id);
        problem
    }

    #[tokio::test]
    async fn a_good_body_is_answered_with_all_headers_and_counted_once_by_its_route() {
        let (response, seen) = send(
            "POST",
            "/things/5",
            Some("application/json; charset=utf-8"),
            "[1,2]",
        )
        .await;
        assert_eq!(response.status(), 200);
        for name in [
            "x-request-id",
            "x-content-type-options",
            "x-frame-options",
            "strict-transport-security",
        ] {
            assert!(response.headers().contains_key(name), "{name}");
        }
        assert_eq!(
            response.headers()["content-security-policy"],
            "default-src 'none'"
        );
        assert_eq!(
            *seen.lock().unwrap(),
            [("/things/{id}".to_owned(), "POST".to_owned(), 200)]
        );
    }

    #[tokio::test]
    async fn errors_are_problems_that_name_the_path() {
        for (method, path, kind, body, status) in [
            ("POST", "/nothing", None, "", 404),
            ("GET", "/things/1", None, "", 405),
            ("POST", "/things/1", None, "[1,2,3,4,5,6,7,8,9,0,1]", 413),
            ("POST", "/things/1", Some("text/plain"), "[]", 415),
            ("POST", "/things/1", None, "[1,", 400),
            ("POST", "/later", None, "", 503),
        ] {
            let (response, _) = send(method, path, kind, body).await;
            assert_eq!(response.status(), status, "{method} {path}");
            let closes = response
                .headers()
                .get(header::CONNECTION)
                .is_some_and(|value| value == "close");
            assert_eq!(closes, status == 413, "{method} {path}");
            let problem = problem(response).await;
            assert_eq!((problem.status, problem.instance.as_str()), (status, path));
        }
    }

    #[tokio::test]
    async fn a_refused_method_says_which_are_allowed() {
        let (response, _) = send("GET", "/things/1", None, "").await;
        assert_eq!(response.headers()[header::ALLOW], "POST");
    }

    #[tokio::test]
    async fn retry_after_is_in_seconds() {
        let (response, _) = send("POST", "/later", None, "").await;
        assert_eq!(response.headers()[header::RETRY_AFTER], "7");
    }
}
