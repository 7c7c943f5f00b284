//! A DataStorage with its own PostgreSQL database and Redis for tests: over HTTP, SQL and processes.

mod archive;
mod program;
pub(crate) mod random;
pub(crate) mod relay;
mod servers;
mod service;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) use archive::Archive;
pub(crate) use program::{configured, run, text};
pub(crate) use servers::{STREAM, Servers};
pub(crate) use service::Service;

/// The API's path of events.
pub(crate) const EVENTS: &str = "/api/v1/audit/events";

/// Waits for a condition; a failure contains `what` and the last state.
pub(crate) fn until<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match look() {
            Ok(value) => return value,
            Err(state) => assert!(
                Instant::now() < deadline,
                "{what}: not within {seconds} s; last seen: {state}"
            ),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A valid event with every field.
pub(crate) fn event(correlation: &str) -> Value {
    json!({
        "event_id": Uuid::now_v7(), "version": "1.0", "event_type": "gateway.signal.received",
        "event_timestamp": jiff::Timestamp::now().to_string(), "event_category": "gateway",
        "event_action": "received", "event_outcome": "success", "correlation_id": correlation,
        "event_data": {"alert": "HighMemoryUsage", "count": 1, "ratio": 0.5, "whole": 2.0, "nested": {"a": [true, null]}},
        "actor_type": "service", "actor_id": "gateway", "resource_type": "Pod", "resource_id": "payment-api-789",
        "namespace": "prod", "cluster_name": "main", "severity": "critical", "duration_ms": 12,
        "error_code": "E1", "error_message": "none", "retention_days": 30,
    })
}

/// The id of an event, sent or stored.
pub(crate) fn id_of(event: &Value) -> String {
    event["event_id"].as_str().unwrap().to_owned()
}

/// A name that no other test has.
pub(crate) fn name(prefix: &str) -> String {
    format!("{prefix}-{}", Uuid::new_v4().simple())
}
