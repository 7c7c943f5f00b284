//! The audit events of a signal.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use wire::audit::{AuditEvent, EventCategory, EventOutcome};
use wire::remediation_request::{RemediationRequestSpec, Severity, SignalType};

use crate::cluster::Error;
use crate::deduplicate::Outcome;
use crate::domain::fingerprint::Fingerprint;
use crate::domain::index::Record;
use crate::domain::signal::Signal;

/// The actor of these events.
const ACTOR: &str = "gateway";

/// The events of a request's creation: received and created.
///
/// They follow from the stored request alone, ids and times included, so that any replica may send them, more than
/// once: the creator may be killed before it can, or may not know that its call succeeded. A request that was created
/// by hand has none.
#[must_use]
pub fn of_request(record: &Record, spec: &RemediationRequestSpec) -> Vec<AuditEvent> {
    let Some(signal_id) = record
        .signal_id
        .as_deref()
        .and_then(|id| Uuid::parse_str(id).ok())
    else {
        return Vec::new();
    };
    let subject = Subject::of_request(spec);
    let event = |id, event_type, action, time| {
        let mut data = subject.describe(&spec.signal_fingerprint);
        data.insert("remediation_request".to_owned(), reference(record).into());
        let mut event = subject.event(event_type, action, EventOutcome::Success, &record.name, data);
        event.event_id = Some(id);
        event.event_timestamp = time;
        event.namespace = Some(record.namespace.clone());
        event
    };
    let received = event(
        signal_id,
        "gateway.signal.received",
        "received",
        spec.received_time,
    );
    let created_id = derived_id(&record.uid, "created");
    // The API server's time has whole seconds; it did not create the request before the signal was received.
    let created_at = record.created.max(spec.received_time);
    let mut created = event(created_id, "gateway.crd.created", "created", created_at);
    created.parent_event_id = Some(signal_id);
    vec![received, created]
}

/// The event of a signal that was counted.
#[must_use]
pub fn of_duplicate(id: Uuid, signal: &Signal, fingerprint: Fingerprint, outcome: &Outcome) -> AuditEvent {
    let names = ("gateway.signal.deduplicated", "deduplicated");
    of_known(names, id, signal, fingerprint, outcome)
}

/// The event of a signal in the cool-down of its last request.
#[must_use]
pub fn of_suppressed(id: Uuid, signal: &Signal, fingerprint: Fingerprint, outcome: &Outcome) -> AuditEvent {
    let names = ("gateway.signal.suppressed", "suppressed");
    of_known(names, id, signal, fingerprint, outcome)
}

/// The event of a resolved signal whose request is active.
#[must_use]
pub fn of_resolved(signal: &Signal, fingerprint: Fingerprint, record: &Record) -> AuditEvent {
    let outcome = Outcome {
        namespace: record.namespace.clone(),
        name: record.name.clone(),
        duplicate: true,
        suppressed: false,
        count: record.count,
        first_seen: record.first_seen,
        last_seen: record.last_seen,
    };
    let names = ("gateway.signal.resolved", "resolved");
    of_known(names, Uuid::now_v7(), signal, fingerprint, &outcome)
}

fn of_known(
    (event_type, action): (&str, &str),
    id: Uuid,
    signal: &Signal,
    fingerprint: Fingerprint,
    outcome: &Outcome,
) -> AuditEvent {
    let subject = Subject::of_signal(signal);
    let mut data = subject.describe(&fingerprint.to_string());
    let request = format!("{}/{}", outcome.namespace, outcome.name);
    data.insert("remediation_request".to_owned(), request.into());
    data.insert("occurrence_count".to_owned(), outcome.count.into());
    data.insert("signal_id".to_owned(), id.to_string().into());
    let mut event = subject.event(event_type, action, EventOutcome::Success, &outcome.name, data);
    event.namespace = Some(outcome.namespace.clone());
    event
}

/// The event of a signal whose request could not be created.
#[must_use]
pub fn of_failure(signal: &Signal, fingerprint: Fingerprint, name: &str, error: &Error) -> AuditEvent {
    let subject = Subject::of_signal(signal);
    let data = subject.describe(&fingerprint.to_string());
    let mut event = subject.event(
        "gateway.crd.creation_failed",
        "creation_failed",
        EventOutcome::Failure,
        name,
        data,
    );
    event.namespace = Some(shortened(&signal.target.namespace, 253));
    event.error_code = Some(error.kind().to_owned());
    event.error_message = Some(shortened(&error.to_string(), 1_000));
    event
}

/// What a signal is about, in a signal or in a request.
struct Subject<'a> {
    name: &'a str,
    severity: Severity,
    signal_type: SignalType,
    source: &'a str,
    kind: &'a str,
    target: &'a str,
    namespace: &'a str,
    firing_time: Timestamp,
    received_time: Timestamp,
}

impl<'a> Subject<'a> {
    fn of_signal(signal: &'a Signal) -> Self {
        Self {
            name: &signal.name,
            severity: signal.severity,
            signal_type: signal.signal_type,
            source: &signal.source,
            kind: &signal.target.kind,
            target: &signal.target.name,
            namespace: &signal.target.namespace,
            firing_time: signal.firing_time,
            received_time: signal.received_time,
        }
    }

    fn of_request(spec: &'a RemediationRequestSpec) -> Self {
        Self {
            name: &spec.signal_name,
            severity: spec.severity,
            signal_type: spec.signal_type,
            source: &spec.signal_source,
            kind: &spec.target_resource.kind,
            target: &spec.target_resource.name,
            namespace: &spec.target_resource.namespace,
            firing_time: spec.firing_time,
            received_time: spec.received_time,
        }
    }

    fn event(
        &self,
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
        event.resource_type = Some(shortened(self.kind, 100));
        event.resource_id = Some(shortened(self.target, 253));
        event.severity = Some(self.severity.as_str().to_owned());
        event
    }

    /// The affected object; labels and the payload stay in the request.
    fn describe(&self, fingerprint: &str) -> Map<String, Value> {
        let data = json!({
            "signal_name": storable(self.name),
            "signal_type": self.signal_type,
            "signal_source": storable(self.source),
            "fingerprint": fingerprint,
            "severity": self.severity,
            "target_kind": storable(self.kind),
            "target_name": storable(self.target),
            "target_namespace": storable(self.namespace),
            "firing_time": self.firing_time,
            "received_time": self.received_time,
        });
        match data {
            Value::Object(data) => data,
            _ => Map::new(),
        }
    }
}

fn reference(record: &Record) -> String {
    format!("{}/{}", record.namespace, record.name)
}

/// The id of an event that follows from an object.
fn derived_id(uid: &str, event: &str) -> Uuid {
    let hash = Sha256::new_with_prefix(uid)
        .chain_update([0])
        .chain_update(event)
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn shortened(text: &str, max: usize) -> String {
    storable(text).chars().take(max).collect()
}

/// PostgreSQL's text cannot contain the character U+0000.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
