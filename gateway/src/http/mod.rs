//! The API: what is taken, in which form it is answered.

pub mod answer;
pub mod auth;
pub mod limits;
pub mod openapi;
pub mod signals;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, options, post};
use tokio::sync::Semaphore;
use tower_http::cors::CorsLayer;

use crate::cluster::access::Access;
use crate::domain::freshness;

use crate::gateway::Gateway;

/// How long a browser may remember what it was told of other origins.
const CORS_SECONDS: Duration = Duration::from_secs(600);

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    /// What takes signals.
    pub gateway: Gateway,
    /// Who may send them; everyone if none.
    pub access: Option<Arc<Access>>,
    /// Requests that may be worked on.
    pub in_flight: Arc<Semaphore>,
    /// How long one may take.
    pub deadline: Duration,
    /// The longest body.
    pub body_bytes: usize,
    /// Origins whose pages may send signals.
    pub cors_origins: Vec<HeaderValue>,
}

/// The routes of the API.
pub fn router(app: App) -> Router {
    let metrics = app.gateway.metrics().clone();
    let body_bytes = app.body_bytes;
    // Who may not send is refused before a place is taken, and a place is taken before a body is read.
    let signal = |handler: MethodRouter<App>| {
        let handler = handler
            .layer(DefaultBodyLimit::max(body_bytes))
            .layer(from_fn_with_state(body_bytes, limits::name_body_limit))
            .layer(from_fn_with_state(app.clone(), limits::limit))
            .layer(from_fn_with_state(app.access.clone(), auth::authorize));
        match &*app.cors_origins {
            [] => handler,
            // Preflights need a route of their own to get past the method check.
            origins => handler
                .merge(options(async || StatusCode::NO_CONTENT))
                .layer(cors(origins)),
        }
    };
    let routes = Router::new()
        .route("/api/v1/signals/prometheus", signal(post(signals::prometheus)))
        .route(
            "/api/v1/signals/kubernetes-event",
            signal(post(signals::kubernetes_event)),
        )
        .route("/openapi.json", get(openapi::document))
        .with_state(app.clone());
    service::http::edge(routes, move |endpoint, method, status, seconds| {
        metrics.answered(endpoint, method, status, seconds);
    })
}

fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins.to_vec())
        .allow_methods([Method::POST])
        .allow_headers([
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            HeaderName::from_static(freshness::HEADER_LOWERCASE),
        ])
        .expose_headers([service::http::REQUEST_ID, header::RETRY_AFTER])
        .max_age(CORS_SECONDS)
}
