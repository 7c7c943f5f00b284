//! HTTP API and health endpoints.

use anyhow::Context;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use deadpool_postgres::PoolError;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{config::Http, store::Store};

/// Maximum duration of a silence: a week.
const MAX_MINUTES: i32 = 7 * 24 * 60;

pub(crate) async fn serve(config: &Http, store: Store) -> anyhow::Result<()> {
    let api = Router::new().route("/api/v1/silences/{namespace}", get(read).put(write));
    let health = Router::new()
        .route(
            "/healthz",
            get(async || Json(json!({"status": "ok", "version": version()}))),
        )
        .route("/readyz", get(ready));
    let api_listener = listen(config.api).await?;
    let health_listener = listen(config.health).await?;
    tokio::try_join!(
        axum::serve(api_listener, api.with_state(store.clone())).with_graceful_shutdown(terminated()),
        axum::serve(health_listener, health.with_state(store)).with_graceful_shutdown(terminated()),
    )?;
    Ok(())
}

async fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

async fn terminated() {
    // Without a handler SIGTERM ends the program at once, which is fine too.
    if let Ok(mut terminate) = signal(SignalKind::terminate()) {
        terminate.recv().await;
    }
}

/// Version that the runner built; it waits until the health endpoint returns it.
fn version() -> String {
    std::env::var("SERVICE_VERSION").unwrap_or_else(|_| env!("CARGO_PKG_VERSION").to_owned())
}

async fn ready(State(store): State<Store>) -> (StatusCode, Json<Value>) {
    match store.check().await {
        Ok(()) => (
            StatusCode::OK,
            Json(json!({"status": "ready", "version": version()})),
        ),
        Err(error) => {
            let body = json!({"status": "not_ready", "version": version(), "detail": error.to_string()});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SilenceRequest {
    reason: String,
    minutes: i32,
}

async fn write(
    State(store): State<Store>,
    Path(namespace): Path<String>,
    Json(request): Json<SilenceRequest>,
) -> Result<Response, Unavailable> {
    if !(1..=MAX_MINUTES).contains(&request.minutes) {
        let detail = format!("minutes must be 1 to {MAX_MINUTES}, not {}", request.minutes);
        return Ok((StatusCode::BAD_REQUEST, Json(json!({"detail": detail}))).into_response());
    }
    store.put(&namespace, &request.reason, request.minutes).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn read(State(store): State<Store>, Path(namespace): Path<String>) -> Result<Response, Unavailable> {
    Ok(match store.get(&namespace).await? {
        Some(silence) => Json(silence).into_response(),
        None => {
            let detail = format!("{namespace} is not silenced");
            (StatusCode::NOT_FOUND, Json(json!({"detail": detail}))).into_response()
        }
    })
}

/// PostgreSQL is unavailable.
struct Unavailable(PoolError);

impl From<PoolError> for Unavailable {
    fn from(error: PoolError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        let body = json!({"detail": self.0.to_string()});
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}
