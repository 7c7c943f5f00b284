//! The API, and the health listener that the runner asks.

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

/// The longest silence: a week.
const MOST_MINUTES: i32 = 7 * 24 * 60;

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
        axum::serve(api_listener, api.with_state(store.clone())).with_graceful_shutdown(told_to_end()),
        axum::serve(health_listener, health.with_state(store)).with_graceful_shutdown(told_to_end()),
    )?;
    Ok(())
}

async fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {address}"))
}

async fn told_to_end() {
    // Without handlers for its signals a program ends at once, which is what it is told.
    if let Ok(mut terminate) = signal(SignalKind::terminate()) {
        terminate.recv().await;
    }
}

/// What the runner built: it waits until this version answers.
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
struct Wanted {
    reason: String,
    minutes: i32,
}

async fn write(
    State(store): State<Store>,
    Path(namespace): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Unavailable> {
    if !(1..=MOST_MINUTES).contains(&wanted.minutes) {
        let detail = format!("minutes must be 1 to {MOST_MINUTES}, it is {}", wanted.minutes);
        return Ok((StatusCode::BAD_REQUEST, Json(json!({"detail": detail}))).into_response());
    }
    store.put(&namespace, &wanted.reason, wanted.minutes).await?;
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

/// PostgreSQL can't be asked now.
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
