//! What the edges of both services share, so that they answer, log, start and stop alike:
//!
//! - [`config`]: a TOML file and environment variables into a typed value, every mistake at once
//! - [`logging`]: JSON lines
//! - [`http`]: request ids, access log, security headers, problem details, JSON bodies
//! - [`health`]: `/healthz`, `/readyz` and `/metrics`
//! - [`server`]: the three listeners and the ordered stop
//!
//! No rule of either service lives here.

mod body;
pub mod config;
pub mod health;
pub mod http;
pub mod logging;
pub mod server;

/// The version that a service answers with: `SERVICE_VERSION` (a deployment sets it to the tag of its image), else
/// the one given (its package's).
#[must_use]
pub fn version(package: &str) -> String {
    std::env::var("SERVICE_VERSION")
        .ok()
        .filter(|version| !version.is_empty())
        .unwrap_or_else(|| package.to_owned())
}
