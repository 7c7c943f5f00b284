//! The API: a handler a file, the routes here.

mod answers;
mod batch;
mod event;
mod events;
mod json;
mod notifications;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::domain::fields::Invalid;
use crate::writer::{Shared, Writer};
use service::http::Failure;

/// No body is larger.
const MOST_BODY_BYTES: usize = 5 * 1024 * 1024;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) writer: Writer,
    pub(crate) shared: Shared,
    pub(crate) count_limit: i64,
}

/// The routes of the API, with request ids, headers, logs and problems.
pub(crate) fn router(service: Service) -> Router {
    let metrics = Arc::clone(&service.shared.metrics);
    let routes = Router::new()
        .route("/api/v1/audit/events", post(event::create).get(events::list))
        .route("/api/v1/audit/events/batch", post(batch::create))
        .route("/api/v1/audit/events/{id}", get(event::get))
        .route("/api/v1/audit/notifications", post(notifications::create))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .with_state(service);
    service::http::edge(routes, move |endpoint, method, status, seconds| {
        metrics.answer(endpoint, method, status, seconds);
    })
}

impl Service {
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
