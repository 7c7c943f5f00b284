//! AlertManager's webhook, version 4: every alert of it becomes a signal, or is refused for itself.

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

/// Labels that name the namespace of what fires, the first that is there.
const NAMESPACE_LABELS: [&str; 2] = ["namespace", "exported_namespace"];

/// Labels that name what fires, the first that is there, and the kind that each means.
const TARGET_LABELS: [(&str, &str); 6] = [
    ("pod", "Pod"),
    ("deployment", "Deployment"),
    ("statefulset", "StatefulSet"),
    ("daemonset", "DaemonSet"),
    ("node", "Node"),
    ("service", "Service"),
];

/// A webhook that could be read.
#[derive(Debug)]
pub struct Reading {
    /// One entry an alert, in their order; all mistakes of an alert that is refused.
    pub alerts: Vec<Result<Read, Vec<FieldError>>>,
    /// The newest `startsAt` of the alerts that could be read.
    pub newest_start: Option<Timestamp>,
}

/// One alert of a webhook.
#[derive(Debug)]
pub struct Read {
    /// What it says.
    pub signal: Signal,
    /// Whether it says that the problem is over.
    pub resolved: bool,
}

/// Reads the body of a webhook.
///
/// # Errors
/// It is not JSON, not a webhook, or has no alerts. Mistakes within one alert are that alert's.
pub fn read(body: &[u8], received_time: Timestamp) -> Result<Reading, FieldError> {
    let webhook: Webhook<'_> = read::json(body, "")?;
    if webhook.alerts.is_empty() {
        return Err(read::mistake(
            "",
            "alerts",
            "is empty or absent; at least one alert was expected",
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
    let mut mistakes = Vec::new();
    if label(&labels, "alertname").is_none() {
        mistakes.push(read::mistake(
            prefix,
            "labels.alertname",
            "is empty or absent; the alert's name was expected",
        ));
    }
    let resolved = match alert.status.as_str() {
        "" | "firing" => false,
        "resolved" => true,
        other => {
            let message = format!("{other:?} is not a status; firing or resolved was expected");
            mistakes.push(read::mistake(prefix, "status", message));
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
    mistakes.extend(read::too_long(
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
    if mistakes.is_empty() {
        Ok(Read { signal, resolved })
    } else {
        Err(mistakes)
    }
}

/// What the group says of all alerts fills what an alert does not say itself.
fn with_common(mut own: Labels, common: &Labels) -> Labels {
    for (name, value) in common {
        if !own.contains_key(name) {
            own.insert(name.clone(), value.clone());
        }
    }
    own
}

/// To Prometheus an empty label is one that is not there.
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

/// What fires, and the label that says so.
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
    fn every_alert_is_read_and_the_group_fills_what_it_lacks() {
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
            "the alert's own label goes before the group's"
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
    fn the_payload_is_the_alert_as_it_came() {
        let body = br#"{"alerts":[ {"labels" : {"alertname":"A"}, "unknown":[1, 2]} ]}"#;
        let reading = read(body, now()).unwrap();
        assert_eq!(
            reading.alerts[0].as_ref().unwrap().signal.payload,
            r#"{"labels" : {"alertname":"A"}, "unknown":[1, 2]}"#
        );
    }

    #[test]
    fn severity_is_one_of_three_and_else_warning() {
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
    fn the_first_label_that_names_a_target_wins() {
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
    fn mistakes_name_their_field() {
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

        let refused = |alert: Value| {
            let mut alerts = read_value(&json!({ "alerts": [alert] })).alerts;
            alerts
                .remove(0)
                .unwrap_err()
                .into_iter()
                .map(|mistake| mistake.field)
                .collect::<Vec<_>>()
        };
        assert_eq!(refused(json!(7)), ["alerts[0]"]);
        assert_eq!(
            refused(json!({ "labels": { "alertname": 5 } })),
            ["alerts[0].labels.alertname"]
        );
        assert_eq!(
            refused(json!({ "labels": { "alertname": "A" }, "startsAt": "yesterday" })),
            ["alerts[0].startsAt"]
        );
        assert_eq!(
            refused(
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
