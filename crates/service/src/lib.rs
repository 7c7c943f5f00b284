//! The edge of both services: configuration, logs, authentication, HTTP, start and stop. No rule of either service is
//! here.
//!
//! - [`config`]: a TOML file and environment variables into a typed value, with the sections that both services share
//! - [`exit`]: exit codes
//! - [`logging`]: JSON lines
//! - [`auth`]: bearer tokens, reviewed by the Kubernetes API
//! - [`problem`]: error responses; [`http`]: request ids, headers, access log, limits, JSON bodies
//! - [`openapi`]: the document of an API
//! - [`health`]: `/healthz`, `/readyz` and `/metrics`
//! - [`server`]: the three listeners and the ordered stop
//!
//! ```
//! use axum::{Router, routing::get};
//! use service::{health::{self, ReadinessCell}, http, server::{Lifecycle, Listeners}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! let config = service::config::Http { api: "127.0.0.1:0".parse()?, health: "127.0.0.1:0".parse()?,
//!     metrics: "127.0.0.1:0".parse()?, ..Default::default() };
//! let stop = service::config::Stop { announce_ms: 0, drain_ms: 1_000 };
//! let listeners = Listeners::bind(&config).await?;
//! let lifecycle = Lifecycle::default();
//! let readiness = ReadinessCell::default();
//! let health = health::router("example", "1.0.0".to_owned(), lifecycle.clone(), readiness);
//! let side = listeners.serve_health(health, Router::new());
//! let routes = Router::new().route("/hello", get(|| async { "hello" }));
//! let api = http::edge(routes, |_endpoint, _method, _status, _seconds| {});
//! lifecycle.stop(); // a signal does this in a service
//! side.serve_api(api, lifecycle, stop).await;
//! # Ok(()) }
//! ```

pub mod auth;
mod body;
pub mod config;
pub mod exit;
pub mod health;
pub mod http;
mod limits;
pub mod logging;
pub mod memory;
pub mod openapi;
mod patience;
pub mod problem;
pub mod server;

/// The version of a service: `SERVICE_VERSION` (a deployment sets it to the tag of its image), otherwise `package`,
/// its package's.
#[must_use]
pub fn version(package: &str) -> String {
    std::env::var("SERVICE_VERSION")
        .ok()
        .filter(|version| !version.is_empty())
        .unwrap_or_else(|| package.to_owned())
}
