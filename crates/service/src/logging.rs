//! Logs: one JSON object per line on standard output, where Kubernetes collects a pod's logs.

use tracing_subscriber::EnvFilter;

/// Starts logging. `filter` is a [`tracing_subscriber::EnvFilter`] directive such as `info` or `info,gateway=debug`;
/// the environment variable `RUST_LOG` overrides it.
///
/// # Errors
/// The directive is invalid, or logging was started before.
pub fn start(filter: &str) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directive) if !directive.is_empty() => EnvFilter::try_new(directive)?,
        _ => EnvFilter::try_new(filter)?,
    };
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(true)
        .with_env_filter(filter)
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
