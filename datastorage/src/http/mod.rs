//! The API: one file per handler, the routes here.

mod answers;
mod batch;
mod erasure;
mod event;
mod events;
mod export;
mod gate;
mod json;
mod legal_hold;
mod log;
mod notifications;
mod openapi;
mod responses;
mod success_rate;
mod timeline;
mod verify_chain;
mod workflow_json;
mod workflows;

use std::sync::Arc;
use std::time::Instant;

use axum::http::Method;
use axum::routing::{delete, get, patch, post};
use axum::{Router, middleware};
use service::config::Http;
use service::http::{Failure, Limits};
use tokio::sync::Semaphore;

use crate::domain::event::Micros;
use crate::domain::fields::Invalid;
use crate::domain::time::ClockBounds;
use crate::writer::{Shared, Writer};

pub(crate) use answers::Answers;
use gate::Actor;
pub(crate) use gate::Gate;

/// State of the handlers.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) writer: Writer,
    pub(crate) shared: Shared,
    pub(crate) count_limit: i64,
    pub(crate) exports: Arc<Semaphore>,
    pub(crate) answers: Answers,
    pub(crate) clock: ClockBounds,
}

/// The routes of the API, with the edge of every service.
pub(crate) fn router(service: Service, gate: Gate, limits: Limits, http: &Http) -> anyhow::Result<Router> {
    let metrics = Arc::clone(&service.shared.metrics);
    let routes = Router::new()
        .route("/api/v1/audit/events", post(event::create).get(events::list))
        .route("/api/v1/audit/events/batch", post(batch::create))
        .route("/api/v1/audit/events/{event_id}", get(event::get))
        .route("/api/v1/audit/events/{event_id}/data", delete(erasure::erase))
        .route("/api/v1/audit/notifications", post(notifications::create))
        .route("/api/v1/audit/verify-chain", post(verify_chain::verify))
        .route("/api/v1/audit/export", get(export::export))
        .route("/api/v1/audit/log/key", get(log::key))
        .route("/api/v1/audit/log/checkpoint", get(log::checkpoint))
        .route("/api/v1/audit/log/tile/{*path}", get(log::tile))
        .route("/api/v1/audit/log/proof/inclusion", get(log::inclusion))
        .route("/api/v1/audit/log/proof/consistency", get(log::consistency))
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
        .route_layer(middleware::from_fn_with_state(limits, Limits::apply))
        .route_layer(middleware::from_fn_with_state(gate, gate::pass));
    let mut routes = service::http::body_limit(routes, http.max_body_bytes).with_state(service);
    let methods = [Method::GET, Method::POST, Method::PATCH, Method::DELETE];
    if let Some(cors) = service::http::cors(&http.cors_origins, methods, [])? {
        routes = routes.layer(cors);
    }
    let routes = routes.route(service::openapi::PATH, get(openapi::document));
    Ok(service::http::edge(
        routes,
        move |endpoint, method, status, seconds| {
            metrics.response(endpoint, method, status, seconds);
        },
    ))
}

impl Service {
    /// A connection of the pool.
    async fn connection(&self) -> Result<deadpool_postgres::Client, Failure> {
        self.shared
            .database
            .pool()
            .get()
            .await
            .map_err(|error| responses::no_connection(&error))
    }

    /// 400 with every invalid field, counted.
    fn invalid(&self, invalid: &[Invalid]) -> Failure {
        self.shared.metrics.invalid(invalid);
        let messages: Vec<String> = invalid
            .iter()
            .map(|invalid| format!("{} {}", invalid.field, invalid.message))
            .collect();
        Failure::invalid(
            messages.join("; "),
            invalid.iter().map(Invalid::to_wire).collect(),
        )
    }

    /// Measures an accepted event's age, and counts it when its clock is off.
    fn arrived(&self, time: Micros, now: Micros) {
        self.shared.metrics.lag(now.0 - time.0);
        if self.clock.exceeded(time, now) {
            self.shared.metrics.clock_skew();
        }
    }

    /// Measures the duration of a query.
    fn queried(&self, query: &'static str, begin: Instant) {
        self.shared.metrics.query(query, begin.elapsed());
    }
}
