//! Events of the Kubernetes API: a warning about an object becomes a signal.

use jiff::Timestamp;
use wire::problem::FieldError;
use wire::remediation_request::{Severity, SignalType};
use wire::webhook::{Event, Texts};

use super::read::{self, SignalFields};
use super::signal::{Distinction, Signal};
use super::stored::Stored;
use super::target::{DEFAULT_NAMESPACE, Target};

/// Reasons that require immediate action.
const CRITICAL_REASONS: [&str; 6] = [
    "OOMKilled",
    "NodeNotReady",
    "FailedScheduling",
    "Evicted",
    "FailedMount",
    "NetworkNotReady",
];

/// A parsed event.
#[derive(Debug)]
pub struct Reading {
    /// Its signal.
    pub signal: Signal,
    /// Its last occurrence, if it has one.
    pub last_seen: Option<Timestamp>,
}

/// Parses the body of an event.
///
/// # Errors
/// All errors: it is not JSON, or a field is missing or invalid, or it is not a warning.
pub fn read(body: &[u8], received_time: Timestamp) -> Result<Reading, Vec<FieldError>> {
    let event: Event<'_> = read::json(body, "").map_err(|error| vec![error])?;
    let mut errors = Vec::new();
    if !matches!(event.event_type.as_str(), "Warning" | "Error") {
        let message = format!(
            "{:?} creates no request; expected Warning or Error",
            event.event_type
        );
        errors.push(read::field_error("", "type", message));
    }
    for (field, value) in [
        ("reason", &event.reason),
        ("involvedObject.kind", &event.involved_object.kind),
        ("involvedObject.name", &event.involved_object.name),
    ] {
        if value.is_empty() {
            errors.push(read::field_error("", field, "is empty or absent"));
        }
    }
    let reading = to_signal(event, body, received_time);
    errors.extend(read::too_long(
        &reading.signal,
        "",
        SignalFields {
            name: "reason",
            kind: "involvedObject.kind",
            target: "involvedObject.name",
            namespace: "involvedObject.namespace",
            source: "reportingComponent",
        },
    ));
    if errors.is_empty() {
        Ok(reading)
    } else {
        Err(errors)
    }
}

fn to_signal(event: Event<'_>, body: &[u8], received_time: Timestamp) -> Reading {
    let critical = event.event_type == "Error" || CRITICAL_REASONS.contains(&event.reason.as_str());
    let repeated = event.series.as_ref().and_then(|series| series.last_observed_time);
    // Reporters of the newer form leave first and last null and set the time and the series instead.
    let last_seen = event
        .last_timestamp
        .or(repeated)
        .or(event.first_timestamp)
        .or(event.event_time);
    let firing_time = event
        .first_timestamp
        .or(event.event_time)
        .or(last_seen)
        .unwrap_or(received_time);
    let message = (!event.message.is_empty()).then_some(("message".into(), event.message.into()));
    let own: Texts<'_> = message.into_iter().collect();
    let none = Texts::default();
    let mut stored = Stored::default();
    let namespace = [
        event.involved_object.namespace,
        event.metadata.namespace,
        DEFAULT_NAMESPACE.to_owned(),
    ];
    let source = [
        event.reporting_component,
        event.source.component,
        "kubernetes".to_owned(),
    ];
    let signal = Signal {
        name: event.reason,
        severity: if critical {
            Severity::Critical
        } else {
            Severity::Warning
        },
        signal_type: SignalType::KubernetesEvent,
        source: first_given(source),
        target: Target {
            namespace: first_given(namespace),
            kind: event.involved_object.kind,
            name: event.involved_object.name,
        },
        distinction: Distinction::default(),
        firing_time,
        received_time,
        labels: stored.texts("signalLabels", &event.metadata.labels, &none),
        annotations: stored.texts("signalAnnotations", &own, &event.metadata.annotations),
        payload: stored.payload(body),
        truncated: stored.truncated,
    };
    Reading { signal, last_seen }
}

fn first_given(candidates: [String; 3]) -> String {
    candidates
        .into_iter()
        .find(|candidate| !candidate.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn now() -> Timestamp {
        "2025-12-01T12:00:00Z".parse().unwrap()
    }

    fn event(changes: Value) -> Result<Reading, Vec<FieldError>> {
        let mut event = json!({
            "type": "Warning", "reason": "BackOff", "message": "again",
            "involvedObject": { "kind": "Pod", "name": "payment-1", "namespace": "shop" },
            "firstTimestamp": "2025-12-01T11:00:00Z", "lastTimestamp": "2025-12-01T11:59:00Z",
            "source": { "component": "kubelet" },
        });
        for (field, value) in changes.as_object().unwrap() {
            event[field] = value.clone();
        }
        read(event.to_string().as_bytes(), now())
    }

    #[test]
    fn warning_becomes_a_signal() {
        let Reading { signal, last_seen } = event(json!({})).unwrap();
        let Target {
            namespace,
            kind,
            name,
        } = &signal.target;
        assert_eq!(
            (
                namespace.as_str(),
                kind.as_str(),
                name.as_str(),
                signal.name.as_str()
            ),
            ("shop", "Pod", "payment-1", "BackOff")
        );
        assert_eq!(
            (signal.source.as_str(), signal.severity),
            ("kubelet", Severity::Warning)
        );
        assert_eq!(signal.firing_time, "2025-12-01T11:00:00Z".parse().unwrap());
        assert_eq!(last_seen, Some("2025-12-01T11:59:00Z".parse().unwrap()));
        assert_eq!(signal.annotations["message"], "again");
    }

    #[test]
    fn severe_reasons_and_errors_are_critical() {
        for reason in CRITICAL_REASONS {
            assert_eq!(
                event(json!({ "reason": reason })).unwrap().signal.severity,
                Severity::Critical,
                "{reason}"
            );
        }
        assert_eq!(
            event(json!({ "type": "Error" })).unwrap().signal.severity,
            Severity::Critical
        );
    }

    #[test]
    fn reads_the_newer_form_of_times() {
        let changes = json!({
            "firstTimestamp": null, "lastTimestamp": null, "eventTime": "2025-12-01T11:00:00.5Z",
            "series": { "count": 2, "lastObservedTime": "2025-12-01T11:58:00Z" },
        });
        assert_eq!(
            event(changes).unwrap().last_seen,
            Some("2025-12-01T11:58:00Z".parse().unwrap())
        );
    }

    #[test]
    fn cluster_scoped_objects_use_the_events_namespace_then_default() {
        let node = json!({ "kind": "Node", "name": "n" });
        assert_eq!(
            event(json!({ "involvedObject": node, "metadata": { "namespace": "events" } }))
                .unwrap()
                .signal
                .target
                .namespace,
            "events"
        );
        assert_eq!(
            event(json!({ "involvedObject": node }))
                .unwrap()
                .signal
                .target
                .namespace,
            "default"
        );
    }

    #[test]
    fn all_errors_are_named() {
        let fields = |changes| {
            event(changes)
                .map(|_| ())
                .unwrap_err()
                .into_iter()
                .map(|error| error.field)
                .collect::<Vec<_>>()
        };
        assert_eq!(fields(json!({ "type": "Normal" })), ["type"]);
        assert_eq!(
            fields(json!({ "type": "", "reason": "", "involvedObject": {} })),
            ["type", "reason", "involvedObject.kind", "involvedObject.name"]
        );
        assert_eq!(
            fields(json!({ "involvedObject": { "kind": 1 } })),
            ["involvedObject.kind"]
        );
        assert_eq!(fields(json!({ "reason": "r".repeat(254) })), ["reason"]);
    }
}
