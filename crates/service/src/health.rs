//! `/healthz`, `/readyz` and `/metrics`, on listeners of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde::Serialize;

use crate::server::Lifecycle;

/// The state of a dependency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// Whether it is available.
    pub status: Status,
    /// Its last error, or since when it is unavailable.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Whether a dependency is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Available.
    Ok,
    /// Unavailable.
    Down,
}

/// The readiness of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it can do its work. A service that can work without a dependency is ready without it.
    pub ready: bool,
    /// Each dependency by name.
    pub dependencies: BTreeMap<String, Dependency>,
}

/// The last known readiness: written by the components of a service, read by the probe, so
/// that a probe gets its response at once, whatever state a dependency is in.
#[derive(Clone, Debug, Default)]
pub struct ReadinessCell(Arc<RwLock<Readiness>>);

impl ReadinessCell {
    /// Changes the readiness.
    pub fn update(&self, change: impl FnOnce(&mut Readiness)) {
        change(&mut self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Sets one dependency.
    pub fn dependency(&self, name: &str, status: Status, detail: impl Into<String>) {
        let dependency = Dependency {
            status,
            detail: detail.into(),
        };
        self.update(|readiness| {
            readiness.dependencies.insert(name.to_owned(), dependency);
        });
    }

    /// The current readiness.
    #[must_use]
    pub fn get(&self) -> Readiness {
        self.0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    service: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dependencies: Option<BTreeMap<String, Dependency>>,
}

/// The health listener's routes: `/healthz` is 200 while the process serves; `/readyz` is 200 when the service is
/// ready and not stopping, otherwise 503.
pub fn router(
    service: &'static str,
    version: String,
    lifecycle: Lifecycle,
    readiness: ReadinessCell,
) -> Router {
    let version: Arc<str> = version.into();
    let alive = {
        let version = Arc::clone(&version);
        move || async move {
            Json(Health {
                status: "ok",
                service,
                version: &version,
                dependencies: None,
            })
            .into_response()
        }
    };
    let ready = move || async move {
        let Readiness { ready, dependencies } = readiness.get();
        let (code, status) = match (lifecycle.is_stopping(), ready) {
            (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            (false, true) => (StatusCode::OK, "ready"),
            (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        };
        let body = Health {
            status,
            service,
            version: &version,
            dependencies: Some(dependencies),
        };
        (code, Json(body)).into_response()
    };
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
}

/// The metrics listener's route, in OpenMetrics text.
pub fn metrics(registry: Arc<Registry>) -> Router {
    Router::new().route(
        "/metrics",
        get(move || async move {
            let mut text = String::new();
            match prometheus_client::encoding::text::encode(&mut text, &registry) {
                Ok(()) => {
                    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                    ([(header::CONTENT_TYPE, kind)], text).into_response()
                }
                Err(error) => {
                    tracing::error!(%error, "metrics can't be written");
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }
            }
        }),
    )
}
