//! Alertmanager's webhook, version 4: every alert becomes a signal, or is rejected by itself.

use jiff::Timestamp;
use serde_json::value::RawValue;
use wire::problem::FieldError;
use wire::remediation_request::{Severity, SignalType};
use wire::webhook::{Alert, Labels, Webhook};

use super::read::{self, SignalFields};
use super::signal::Signal;
use super::target::{DEFAULT_NAMESPACE, Target};

/// The program that sends webhooks.
const SOURCE: &str = "alertmanager";

/// Labels with the namespace of the target, in order of precedence.
const NAMESPACE_LABELS: [&str; 2] = ["namespace", "exported_namespace"];

/// Labels with the name of the target, in order of precedence, and the kind that each means.
const TARGET_LABELS: [(&str, &str); 6] = [
    ("pod", "Pod"),
    ("deployment", "Deployment"),
    ("statefulset", "StatefulSet"),
    ("daemonset", "DaemonSet"),
    ("node", "Node"),
    ("service", "Service"),
];

/// A parsed webhook.
#[derive(Debug)]
pub struct Reading {
    /// One entry per alert, in order; all errors of a rejected alert.
    pub alerts: Vec<Result<Read, Vec<FieldError>>>,
    /// The newest `startsAt` of the valid alerts.
    pub newest_start: Option<Timestamp>,
}

/// One alert of a webhook.
#[derive(Debug)]
pub struct Read {
    /// Its signal.
    pub signal: Signal,
    /// Whether it is resolved.
    pub resolved: bool,
}

/// Parses the body of a webhook.
///
/// # Errors
/// It is not JSON, not a webhook, or has no alerts. Errors within one alert are that alert's.
pub fn read(body: &[u8], received_time: Timestamp) -> Result<Reading, FieldError> {
    let webhook: Webhook<'_> = read::json(body, "")?;
    if webhook.alerts.is_empty() {
        return Err(read::field_error(
            "",
            "alerts",
            "is empty or absent; expected at least one alert",
        ));
    }
    let mut newest_start = None;
    let mut alerts = Vec::with_capacity(webhook.alerts.len());
    for (position, raw) in webhook.alerts.iter().enumerate() {
        let prefix = format!("alerts[{position}]");
        alerts.push(
            read::raw::<Alert>(raw, &prefix)
                .map_err(|error| vec![error])
                .and_then(|alert| {
                    let starts_at = alert.starts_at.filter(|start| start.as_second() > 0);
                    newest_start = newest_start.max(starts_at);
                    to_signal(alert, starts_at, &webhook, raw, received_time, &prefix)
                }),
        );
    }
    Ok(Reading { alerts, newest_start })
}

fn to_signal(
    alert: Alert,
    starts_at: Option<Timestamp>,
    webhook: &Webhook<'_>,
    raw: &RawValue,
    received_time: Timestamp,
    prefix: &str,
) -> Result<Read, Vec<FieldError>> {
    let labels = with_common(alert.labels, &webhook.common_labels);
    let annotations = with_common(alert.annotations, &webhook.common_annotations);
    let mut errors = Vec::new();
    if label(&labels, "alertname").is_none() {
        errors.push(read::field_error(
            prefix,
            "labels.alertname",
            "is empty or absent; expected the alert's name",
        ));
    }
    let resolved = match alert.status.as_str() {
        "" | "firing" => false,
        "resolved" => true,
        other => {
            let message = format!("{other:?} is not a status; expected firing or resolved");
            errors.push(read::field_error(prefix, "status", message));
            false
        }
    };
    let (target_label, target) = target(&labels);
    let signal = Signal {
        name: label(&labels, "alertname").unwrap_or_default().to_owned(),
        severity: severity(&labels),
        signal_type: SignalType::PrometheusAlert,
        source: SOURCE.to_owned(),
        target,
        firing_time: starts_at.unwrap_or(received_time),
        received_time,
        labels,
        annotations,
        payload: raw.get().to_owned(),
    };
    let target_label = format!("labels.{target_label}");
    errors.extend(read::too_long(
        &signal,
        prefix,
        SignalFields {
            name: "labels.alertname",
            kind: &target_label,
            target: &target_label,
            namespace: "labels.namespace",
            source: SOURCE,
        },
    ));
    if errors.is_empty() {
        Ok(Read { signal, resolved })
    } else {
        Err(errors)
    }
}

/// Adds the group's common labels or annotations that the alert does not have.
fn with_common(mut own: Labels, common: &Labels) -> Labels {
    for (name, value) in common {
        if !own.contains_key(name) {
            own.insert(name.clone(), value.clone());
        }
    }
    own
}

/// To Prometheus an empty label is absent.
fn label<'a>(labels: &'a Labels, name: &str) -> Option<&'a str> {
    labels
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

fn severity(labels: &Labels) -> Severity {
    match label(labels, "severity").map(str::to_ascii_lowercase).as_deref() {
        Some("critical") => Severity::Critical,
        Some("info") => Severity::Info,
        _ => Severity::Warning,
    }
}

/// The target, and the label that names it.
fn target(labels: &Labels) -> (&'static str, Target) {
    let namespace = NAMESPACE_LABELS
        .iter()
        .find_map(|name| label(labels, name))
        .unwrap_or(DEFAULT_NAMESPACE);
    let named = TARGET_LABELS
        .iter()
        .find_map(|(name, kind)| label(labels, name).map(|value| (*name, *kind, value)));
    let (found_in, kind, name) = named.unwrap_or(("pod", "Unknown", "unknown"));
    (
        found_in,
        Target {
            namespace: namespace.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn now() -> Timestamp {
        "2025-12-01T12:00:00Z".parse().unwrap()
    }

    fn read_value(body: &Value) -> Reading {
        read(body.to_string().as_bytes(), now()).unwrap()
    }

    fn signal(labels: Value) -> Signal {
        read_value(&json!({ "alerts": [{ "labels": labels }] }))
            .alerts
            .remove(0)
            .unwrap()
            .signal
    }

    #[test]
    fn reads_every_alert_and_adds_common_labels() {
        let reading = read_value(&json!({
            "commonLabels": { "severity": "critical", "namespace": "shop", "pod": "of-the-group" },
            "commonAnnotations": { "runbook": "https://example.com" },
            "alerts": [
                { "status": "firing", "labels": { "alertname": "A", "pod": "p-1" }, "startsAt": "2025-12-01T10:00:00Z" },
                { "status": "resolved", "labels": { "alertname": "B" }, "startsAt": "2025-12-01T11:00:00Z" },
                { "labels": {} },
            ],
        }));
        let first = reading.alerts[0].as_ref().unwrap();
        assert_eq!(first.signal.severity, Severity::Critical);
        assert_eq!(
            first.signal.target.name, "p-1",
            "the alert's own label takes precedence"
        );
        assert_eq!(first.signal.annotations["runbook"], "https://example.com");
        assert_eq!(first.signal.firing_time, "2025-12-01T10:00:00Z".parse().unwrap());
        assert!(!first.resolved);
        assert!(reading.alerts[1].as_ref().unwrap().resolved);
        assert_eq!(
            reading.alerts[2].as_ref().unwrap_err()[0].field,
            "alerts[2].labels.alertname"
        );
        assert_eq!(
            reading.newest_start,
            Some("2025-12-01T11:00:00Z".parse().unwrap())
        );
    }

    #[test]
    fn payload_is_the_alert_as_received() {
        let body = br#"{"alerts":[ {"labels" : {"alertname":"A"}, "unknown":[1, 2]} ]}"#;
        let reading = read(body, now()).unwrap();
        assert_eq!(
            reading.alerts[0].as_ref().unwrap().signal.payload,
            r#"{"labels" : {"alertname":"A"}, "unknown":[1, 2]}"#
        );
    }

    #[test]
    fn unknown_severity_is_a_warning() {
        for (given, expected) in [
            ("critical", Severity::Critical),
            ("CRITICAL", Severity::Critical),
            ("warning", Severity::Warning),
            ("info", Severity::Info),
            ("page", Severity::Warning),
            ("", Severity::Warning),
        ] {
            assert_eq!(
                signal(json!({ "alertname": "A", "severity": given })).severity,
                expected,
                "{given}"
            );
        }
    }

    #[test]
    fn first_label_that_names_a_target_is_used() {
        let target_of = |labels: Value| {
            let Target {
                namespace,
                kind,
                name,
            } = signal(labels).target;
            format!("{namespace}/{kind}/{name}")
        };
        assert_eq!(target_of(json!({ "alertname": "A" })), "default/Unknown/unknown");
        assert_eq!(
            target_of(json!({ "alertname": "A", "pod": "", "node": "n" })),
            "default/Node/n"
        );
        assert_eq!(
            target_of(json!({ "alertname": "A", "namespace": "x", "deployment": "d", "service": "s" })),
            "x/Deployment/d"
        );
        assert_eq!(
            target_of(json!({ "alertname": "A", "exported_namespace": "e", "daemonset": "d" })),
            "e/DaemonSet/d"
        );
        assert_eq!(
            target_of(json!({ "alertname": "A", "statefulset": "s", "pod": "p" })),
            "default/Pod/p"
        );
    }

    #[test]
    fn errors_name_their_field() {
        let field_of = |body: &str| read(body.as_bytes(), now()).map(|_| ()).unwrap_err().field;
        assert_eq!(field_of("{"), "body");
        assert_eq!(field_of("[]"), "body");
        assert_eq!(field_of(r#"{"alerts":{}}"#), "alerts");
        assert_eq!(field_of(r#"{"alerts":[]}"#), "alerts");
        assert_eq!(field_of("{}"), "alerts");
        assert_eq!(
            field_of(r#"{"commonLabels":{"a":1},"alerts":[{}]}"#),
            "commonLabels.a"
        );

        let rejected = |alert: Value| {
            let mut alerts = read_value(&json!({ "alerts": [alert] })).alerts;
            alerts
                .remove(0)
                .unwrap_err()
                .into_iter()
                .map(|error| error.field)
                .collect::<Vec<_>>()
        };
        assert_eq!(rejected(json!(7)), ["alerts[0]"]);
        assert_eq!(
            rejected(json!({ "labels": { "alertname": 5 } })),
            ["alerts[0].labels.alertname"]
        );
        assert_eq!(
            rejected(json!({ "labels": { "alertname": "A" }, "startsAt": "yesterday" })),
            ["alerts[0].startsAt"]
        );
        assert_eq!(
            rejected(
                json!({ "status": "odd", "labels": { "alertname": "a".repeat(254), "pod": "p".repeat(300) } })
            ),
            [
                "alerts[0].status",
                "alerts[0].labels.alertname",
                "alerts[0].labels.pod"
            ]
        );
    }
}
