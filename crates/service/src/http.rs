//! The edge of an API: request ids, security headers, the access log, problem details, limits and cross-origin requests.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use tower_http::cors::{AllowMethods, AllowOrigin, CorsLayer};
use tracing::Instrument;
use uuid::Uuid;
use wire::problem::MEDIA_TYPE;

use crate::body::Shared;
pub use crate::body::{JsonBody, RawBody};
pub use crate::limits::{InFlight, Limits};
pub use crate::problem::Failure;

/// The header that carries the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a browser may cache a preflight response.
const CORS_MAX_AGE: Duration = Duration::from_secs(600);

/// Wraps the routes of an API: 404 and 405 as problems, request ids, security headers, the access log.
///
/// `observe` is called once per response: endpoint (the route's pattern, never the raw path, so that it is bounded),
/// method, status, seconds.
pub fn edge<F>(routes: Router, observe: F) -> Router
where
    F: Fn(&str, &str, u16, f64) + Clone + Send + Sync + 'static,
{
    routes
        .fallback(|request: Request| async move {
            Failure::not_found(format!(
                "no route {}; /openapi.json lists all routes",
                request.uri().path()
            ))
        })
        .method_not_allowed_fallback(|request: Request| async move {
            Failure::method_not_allowed(format!(
                "{} does not support {}; see the Allow header",
                request.uri().path(),
                request.method()
            ))
        })
        .layer(middleware::from_fn(move |request, next| {
            respond(request, next, observe.clone())
        }))
}

async fn respond<F: Fn(&str, &str, u16, f64)>(request: Request, next: Next, observe: F) -> Response {
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
    // A client that waits for permission to send sends nothing.
    let waits = request.headers().contains_key(header::EXPECT);
    let (request, body) = Shared::of(request);
    let mut response = if is_text(&path) {
        next.run(request).instrument(span.clone()).await
    } else {
        // A route would answer it in a form of its own.
        Failure::invalid("the path is not UTF-8 after percent-decoding", Vec::new()).into_response()
    };
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
    // A rejected client may still be sending. Where part of the body stays unread, its next request would be read from the
    // middle of it.
    if status >= 400 && (waits || !body.drain().await) {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether a path is UTF-8 after percent-decoding.
fn is_text(path: &str) -> bool {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if first == b'%' => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            _ => {
                decoded.push(first);
                rest = tail;
            }
        }
    }
    std::str::from_utf8(&decoded).is_ok()
}

/// Writes the problem as the body; existing headers (such as Allow) stay.
fn render(failure: Failure, mut response: Response, path: &str, id: &str) -> Response {
    let (retry_after, challenge) = (failure.retry_after, failure.challenge);
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
    if let Some(challenge) = challenge {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
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
    // A page of the service may set its own policy.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'"));
}

/// The layer for cross-origin requests of pages of `origins`; `None` without any. Preflights need an `OPTIONS` route.
///
/// # Errors
/// An origin is not a valid header value.
pub fn cors(
    origins: &[String],
    methods: impl Into<AllowMethods>,
    headers: impl IntoIterator<Item = HeaderName>,
) -> anyhow::Result<Option<CorsLayer>> {
    if origins.is_empty() {
        return Ok(None);
    }
    let origins: Vec<HeaderValue> = origins
        .iter()
        .map(|origin| origin.parse())
        .collect::<Result<_, _>>()?;
    let headers: Vec<HeaderName> = [header::CONTENT_TYPE, header::AUTHORIZATION]
        .into_iter()
        .chain(headers)
        .collect();
    Ok(Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods(methods)
            .allow_headers(headers)
            .expose_headers([REQUEST_ID, header::RETRY_AFTER, header::WWW_AUTHENTICATE])
            .max_age(CORS_MAX_AGE),
    ))
}

/// Limits a route's body. An error names the limit.
pub fn body_limit<S: Clone + Send + Sync + 'static>(routes: Router<S>, max_bytes: usize) -> Router<S> {
    routes
        .layer(DefaultBodyLimit::max(max_bytes))
        .layer(middleware::map_response(move |mut response: Response| {
            if let Some(failure) = response.extensions_mut().get_mut::<Failure>()
                && failure.problem.status == 413
            {
                failure.problem.detail = format!("the body has more than {max_bytes} bytes");
            }
            std::future::ready(response)
        }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::post;
    use std::sync::{Arc, Mutex};
    use tower::ServiceExt;
    use wire::problem::Problem;

    type Seen = Arc<Mutex<Vec<(String, String, u16)>>>;

    fn routes(seen: &Seen) -> Router {
        let seen = Arc::clone(seen);
        let routes = Router::new()
            .route(
                "/things/{id}",
                post(|JsonBody(body): JsonBody<Vec<u8>>| async move { format!("{}", body.len()) }),
            )
            .route("/later", post(|| async { Failure::unavailable("not yet", 7) }))
            .route(
                "/secret",
                post(|| async { Failure::unauthenticated("no token", false) }),
            );
        edge(body_limit(routes, 20), move |endpoint, method, status, _| {
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
    async fn response_has_all_headers_and_is_counted_once_by_its_route() {
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
            ("POST", "/things/%ff", None, "[1]", 400),
            ("POST", "/later", None, "", 503),
            ("POST", "/secret", None, "", 401),
        ] {
            let (response, _) = send(method, path, kind, body).await;
            assert_eq!(response.status(), status, "{method} {path}");
            // Everything was read: the client can go on.
            assert_eq!(
                response.headers().get(header::CONNECTION),
                None,
                "{method} {path}"
            );
            let challenge = response.headers().get(header::WWW_AUTHENTICATE).cloned();
            assert_eq!(
                challenge.is_some_and(|value| value == "Bearer"),
                status == 401,
                "{method} {path}"
            );
            let problem = problem(response).await;
            assert_eq!((problem.status, problem.instance.as_str()), (status, path));
        }
    }

    #[tokio::test]
    async fn rejected_method_lists_the_allowed_ones() {
        let (response, _) = send("GET", "/things/1", None, "").await;
        assert_eq!(response.headers()[header::ALLOW], "POST");
    }

    #[tokio::test]
    async fn retry_after_is_in_seconds() {
        let (response, _) = send("POST", "/later", None, "").await;
        assert_eq!(response.headers()[header::RETRY_AFTER], "7");
    }
}
