//! The audit events of a signal.

use serde_json::{Map, Value, json};
use uuid::Uuid;
use wire::audit::{AuditEvent, EventCategory, EventOutcome};

use crate::deduplicate::{Failure, Outcome};
use crate::domain::fingerprint::Fingerprint;
use crate::domain::signal::Signal;

/// The actor of these events.
const ACTOR: &str = "gateway";

/// The events of an accepted signal: received and created, or deduplicated.
#[must_use]
pub fn of_outcome(id: Uuid, signal: &Signal, fingerprint: Fingerprint, outcome: &Outcome) -> Vec<AuditEvent> {
    let base = |event_type, action, data| {
        let mut event = event(
            signal,
            event_type,
            action,
            EventOutcome::Success,
            &outcome.name,
            data,
        );
        event.namespace = Some(outcome.namespace.clone());
        event
    };
    let mut data = describe(signal, fingerprint);
    data.insert(
        "remediation_request".to_owned(),
        format!("{}/{}", outcome.namespace, outcome.name).into(),
    );
    if outcome.duplicate {
        data.insert("occurrence_count".to_owned(), outcome.count.into());
        data.insert("signal_id".to_owned(), id.to_string().into());
        return vec![base("gateway.signal.deduplicated", "deduplicated", data)];
    }
    let mut received = base("gateway.signal.received", "received", data.clone());
    received.event_id = Some(id);
    let mut created = base("gateway.crd.created", "created", data);
    created.parent_event_id = Some(id);
    vec![received, created]
}

/// The event of a signal whose request could not be created.
#[must_use]
pub fn of_failure(signal: &Signal, fingerprint: Fingerprint, name: &str, failure: &Failure) -> AuditEvent {
    let data = describe(signal, fingerprint);
    let mut event = event(
        signal,
        "gateway.crd.creation_failed",
        "creation_failed",
        EventOutcome::Failure,
        name,
        data,
    );
    event.namespace = Some(shortened(&signal.target.namespace, 253));
    event.error_code = Some(failure.error.kind().to_owned());
    event.error_message = Some(shortened(&failure.error.to_string(), 1_000));
    event
}

fn event(
    signal: &Signal,
    event_type: &str,
    action: &str,
    outcome: EventOutcome,
    correlation_id: &str,
    data: Map<String, Value>,
) -> AuditEvent {
    let mut event = AuditEvent::new(
        EventCategory::Gateway,
        event_type,
        action,
        outcome,
        correlation_id,
        data,
    );
    event.actor_type = Some("service".to_owned());
    event.actor_id = Some(ACTOR.to_owned());
    event.resource_type = Some(shortened(&signal.target.kind, 100));
    event.resource_id = Some(shortened(&signal.target.name, 253));
    event.severity = Some(signal.severity.as_str().to_owned());
    event
}

/// The affected object and the result; labels and the payload stay in the request.
fn describe(signal: &Signal, fingerprint: Fingerprint) -> Map<String, Value> {
    let data = json!({
        "signal_name": storable(&signal.name),
        "signal_type": signal.signal_type,
        "signal_source": storable(&signal.source),
        "fingerprint": fingerprint.to_string(),
        "severity": signal.severity,
        "target_kind": storable(&signal.target.kind),
        "target_name": storable(&signal.target.name),
        "target_namespace": storable(&signal.target.namespace),
        "firing_time": signal.firing_time,
        "received_time": signal.received_time,
    });
    match data {
        Value::Object(data) => data,
        _ => Map::new(),
    }
}

fn shortened(text: &str, max: usize) -> String {
    storable(text).chars().take(max).collect()
}

/// PostgreSQL's text cannot contain the character U+0000.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
