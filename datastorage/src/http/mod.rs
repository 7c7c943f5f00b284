//! The API: a handler a file, the routes here.

mod answers;
mod batch;
mod event;
mod events;
mod export;
mod gate;
mod json;
mod legal_hold;
mod notifications;
mod openapi;
mod success_rate;
mod timeline;
mod verify_chain;
mod workflow_json;
mod workflows;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, patch, post};
use axum::{Router, middleware};
use service::http::Failure;
use tokio::sync::Semaphore;

use crate::domain::fields::Invalid;
use crate::writer::{Shared, Writer};

use gate::Actor;
pub(crate) use gate::Gate;

/// No body is larger.
const MOST_BODY_BYTES: usize = 5 * 1024 * 1024;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) writer: Writer,
    pub(crate) shared: Shared,
    pub(crate) count_limit: i64,
    pub(crate) exports: Arc<Semaphore>,
}

/// The routes of the API, with request ids, headers, logs and problems.
pub(crate) fn router(service: Service, gate: Gate) -> Router {
    let metrics = Arc::clone(&service.shared.metrics);
    let routes = Router::new()
        .route("/api/v1/audit/events", post(event::create).get(events::list))
        .route("/api/v1/audit/events/batch", post(batch::create))
        .route("/api/v1/audit/events/{event_id}", get(event::get))
        .route("/api/v1/audit/notifications", post(notifications::create))
        .route("/api/v1/audit/verify-chain", post(verify_chain::verify))
        .route("/api/v1/audit/export", get(export::export))
        .route(
            "/api/v1/audit/legal-hold",
            post(legal_hold::place)
                .get(legal_hold::list)
                .delete(legal_hold::release),
        )
        .route(
            "/api/v1/audit/legal-hold/{correlation_id}",
            delete(legal_hold::release_named),
        )
        .route("/api/v1/workflows", post(workflows::create).get(workflows::list))
        .route("/api/v1/workflows/search", post(workflows::search))
        .route(
            "/api/v1/workflows/by-name/{workflow_name}/versions",
            get(workflows::versions),
        )
        .route(
            "/api/v1/workflows/{workflow_id}",
            get(workflows::get).patch(workflows::patch),
        )
        .route(
            "/api/v1/workflows/{workflow_id}/disable",
            patch(workflows::disable),
        )
        .route(
            "/api/v1/success-rate/incident-type",
            get(success_rate::incident_type),
        )
        .route("/api/v1/success-rate/workflow", get(success_rate::workflow))
        .route(
            "/api/v1/success-rate/multi-dimensional",
            get(success_rate::multi_dimensional),
        )
        .route("/timeline/{correlation_id}", get(timeline::page))
        .route_layer(middleware::from_fn_with_state(gate, gate::pass))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .with_state(service)
        .route("/openapi.json", get(openapi::document));
    service::http::edge(routes, move |endpoint, method, status, seconds| {
        metrics.answer(endpoint, method, status, seconds);
    })
}

impl Service {
    /// A connection of the pool.
    async fn connection(&self) -> Result<deadpool_postgres::Client, Failure> {
        self.shared
            .database
            .pool()
            .get()
            .await
            .map_err(|error| answers::no_connection(&error))
    }

    /// 400 with every wrong field, counted.
    fn invalid(&self, invalid: &[Invalid]) -> Failure {
        self.shared.metrics.invalid(invalid);
        let told: Vec<String> = invalid
            .iter()
            .map(|invalid| format!("{} {}", invalid.field, invalid.message))
            .collect();
        Failure::invalid(told.join("; "), invalid.iter().map(Invalid::to_wire).collect())
    }

    /// Measures a query.
    fn queried(&self, query: &'static str, begin: Instant) {
        self.shared.metrics.query(query, begin.elapsed());
    }
}
