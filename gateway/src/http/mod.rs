//! The API: what is taken, in which form it is answered.

pub mod answer;
pub mod limits;
pub mod signals;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use tokio::sync::Semaphore;

use crate::gateway::Gateway;

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    /// What takes signals.
    pub gateway: Gateway,
    /// Requests that may be worked on.
    pub in_flight: Arc<Semaphore>,
    /// How long one may take.
    pub deadline: Duration,
}

/// The routes of the API.
pub fn router(app: App, body_bytes: usize) -> Router {
    let metrics = app.gateway.metrics().clone();
    let routes = Router::new()
        .route("/api/v1/signals/prometheus", post(signals::prometheus))
        .route(
            "/api/v1/signals/kubernetes-event",
            post(signals::kubernetes_event),
        )
        .layer(DefaultBodyLimit::max(body_bytes))
        .route_layer(from_fn_with_state(body_bytes, limits::name_body_limit))
        .route_layer(from_fn_with_state(app.clone(), limits::limit))
        .with_state(app);
    service::http::edge(routes, move |endpoint, method, status, seconds| {
        metrics.answered(endpoint, method, status, seconds);
    })
}
