//! The API: its routes and their order of checks.

pub mod entry;
pub mod openapi;
pub mod redelivery;
pub mod response;
pub mod room;
pub mod signals;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, options, post};
use service::auth::Authorizer;
use service::config::Http;
use service::http::Limits;

use self::redelivery::Deliveries;
use self::room::Room;
use crate::domain::freshness;
use crate::domain::rules::Rules;
use crate::gateway::Gateway;

/// State of the handlers.
#[derive(Clone)]
pub struct App {
    /// Processes signals.
    pub gateway: Gateway,
    /// Authorization of senders; every sender may send without it.
    pub authorizer: Option<Authorizer>,
    /// How alerts become signals.
    pub rules: Arc<Rules>,
    /// Limits of requests.
    pub limits: Limits,
    /// Memory for signals in process.
    pub room: Room,
    /// Deliveries that their senders will send again.
    pub deliveries: Deliveries,
}

/// The routes of the API.
///
/// # Errors
/// An origin in `http.cors_origins` is not a valid header value.
pub fn router(app: App, http: &Http) -> anyhow::Result<Router> {
    let metrics = app.gateway.metrics().clone();
    let signals = Router::new()
        .route("/api/v1/signals/prometheus", post(signals::prometheus))
        .route(
            "/api/v1/signals/kubernetes-event",
            post(signals::kubernetes_event),
        );
    // Authorize first, then acquire an in-flight permit, then read the body.
    let mut signals = service::http::body_limit(signals, http.max_body_bytes)
        .layer(from_fn_with_state(app.limits.clone(), Limits::apply))
        .layer(from_fn_with_state(app.authorizer.clone(), authorize));
    let timestamp = HeaderName::from_static(freshness::HEADER_LOWERCASE);
    if let Some(cors) = service::http::cors(&http.cors_origins, [Method::POST], [timestamp])? {
        // Preflights need a route of their own to get past the method check.
        let preflight = || options(async || StatusCode::NO_CONTENT);
        signals = signals
            .route("/api/v1/signals/prometheus", preflight())
            .route("/api/v1/signals/kubernetes-event", preflight())
            .layer(cors);
    }
    let routes = signals
        .route(service::openapi::PATH, get(openapi::document))
        .with_state(app);
    Ok(service::http::edge(
        routes,
        move |endpoint, method, status, seconds| {
            metrics.response(endpoint, method, status, seconds);
        },
    ))
}

/// Requires a token with the right to `create`, the verb of sending a signal.
async fn authorize(State(authorizer): State<Option<Authorizer>>, request: Request, next: Next) -> Response {
    if let Some(authorizer) = authorizer
        && let Err(failure) = authorizer.authorize(request.headers(), "create").await
    {
        return failure.into_response();
    }
    next.run(request).await
}
