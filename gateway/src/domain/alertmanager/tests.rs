mod targets;

use super::*;
use serde_json::{Value, json};

fn now() -> Timestamp {
    "2025-12-01T12:00:00Z".parse().unwrap()
}

fn read_value(body: &Value) -> Reading<String> {
    read(body.to_string(), true, now()).unwrap()
}

fn judge_one(alert: &Value) -> Result<Read, Vec<FieldError>> {
    read_value(&json!({ "alerts": [alert] })).judge(&Rules::default(), 0)
}

fn signal(labels: &Value) -> Signal {
    judge_one(&json!({ "labels": labels })).unwrap().signal
}

fn fields(rejected: Result<Read, Vec<FieldError>>) -> Vec<String> {
    let errors = rejected.unwrap_err();
    errors.into_iter().map(|error| error.field).collect()
}

#[test]
fn every_alert_gets_the_common_labels_that_it_does_not_have() {
    let reading = read_value(&json!({
        "commonLabels": { "severity": "critical", "namespace": "shop", "pod": "of-the-group" },
        "commonAnnotations": { "runbook": "https://example.com" },
        "alerts": [
            { "status": "firing", "labels": { "alertname": "A", "pod": "p-1" }, "startsAt": "2025-12-01T10:00:00Z" },
            { "status": "resolved", "labels": { "alertname": "B", "pod": null }, "startsAt": "2025-12-01T11:00:00Z" },
            { "labels": {} },
        ],
    }));
    let first = reading.judge(&Rules::default(), 0).unwrap();
    assert_eq!(first.signal.severity, Severity::Critical);
    assert_eq!(
        first.signal.target.name, "p-1",
        "the alert's own label takes precedence"
    );
    assert_eq!(first.signal.annotations["runbook"], "https://example.com");
    assert_eq!(first.signal.labels["severity"], "critical");
    assert_eq!(first.signal.firing_time, "2025-12-01T10:00:00Z".parse().unwrap());
    assert_eq!(first.verdict, Verdict::Firing);
    let second = reading.judge(&Rules::default(), 1).unwrap();
    assert_eq!(second.verdict, Verdict::Resolved);
    assert_eq!(
        second.signal.target.name, "of-the-group",
        "a null label is absent"
    );
    assert_eq!(
        fields(reading.judge(&Rules::default(), 2)),
        ["alerts[2].labels.alertname"]
    );
}

#[test]
fn payload_is_the_alert_as_received() {
    let body = br#"{"alerts":[ {"labels" : {"alertname":"A"}, "unknown":[1, 2]} ]}"#;
    let reading = read(body, true, now()).unwrap();
    assert_eq!(
        reading
            .judge(&Rules::default(), 0)
            .unwrap()
            .signal
            .payload
            .as_deref(),
        Some(r#"{"labels" : {"alertname":"A"}, "unknown":[1, 2]}"#)
    );
}

#[test]
fn numbers_are_read_as_text_and_nulls_as_absent() {
    let body = r#"{"version":4,"receiver":7,"status":1,"groupKey":null,"truncatedAlerts":"0",
        "groupLabels":[],"externalURL":0,"commonLabels":{"shard":3,"gone":null,"on":true},"commonAnnotations":{"value":1.50},
        "alerts":[{"status":null,"labels":{"alertname":5,"pod":null,"node":12},"annotations":null,"generatorURL":1,
        "startsAt":"2025-12-01T10:00:00Z","endsAt":0,"fingerprint":9}]}"#;
    let signal = read(body, false, now())
        .unwrap()
        .judge(&Rules::default(), 0)
        .unwrap()
        .signal;
    assert_eq!(
        (&*signal.name, &*signal.target.kind, &*signal.target.name),
        ("5", "Node", "12")
    );
    let labels: Vec<_> = signal
        .labels
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    assert_eq!(
        labels,
        [("alertname", "5"), ("node", "12"), ("on", "true"), ("shard", "3")]
    );
    assert_eq!(signal.annotations["value"], "1.50");
}

#[test]
fn alert_of_the_future_is_rejected_by_itself() {
    let alert = |start: Value| json!({ "labels": { "alertname": "A" }, "startsAt": start });
    let body = json!({ "alerts": [
        alert(json!("2025-12-01T12:03:00Z")),
        alert(json!("2025-12-01T12:01:00Z")),
        alert(json!("2025-11-01T12:00:00Z")),
        alert(json!("0001-01-01T00:00:00Z")),
        alert(json!("")),
    ]});
    let reading = read(body.to_string(), false, now()).unwrap();
    assert_eq!(
        fields(reading.judge(&Rules::default(), 0)),
        ["alerts[0].startsAt"]
    );
    for position in 1..reading.count() {
        assert!(reading.judge(&Rules::default(), position).is_ok(), "{position}");
    }
    // The time of sending is known, so that the alerts' own does not matter.
    let stamped = read(body.to_string(), true, now()).unwrap();
    assert!(stamped.judge(&Rules::default(), 0).is_ok());
    // No alert says when it began, or only one of the future does.
    for start in [json!(null), json!("2025-12-01T12:03:00Z")] {
        let body = json!({ "alerts": [alert(start), alert(json!(null))] });
        let reading = read(body.to_string(), false, now()).unwrap();
        assert_eq!(
            fields(reading.judge(&Rules::default(), 1)),
            ["alerts[1].startsAt"]
        );
    }
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
            signal(&json!({ "alertname": "A", "severity": given })).severity,
            expected,
            "{given}"
        );
    }
}

#[test]
fn errors_name_their_field() {
    let field_of = |body: &str| read(body, true, now()).map(|_| ()).unwrap_err().field;
    assert_eq!(field_of("{"), "body");
    assert_eq!(field_of("[]"), "body");
    assert_eq!(field_of(r#"{"alerts":{}}"#), "alerts");
    assert_eq!(field_of(r#"{"alerts":[]}"#), "alerts");
    assert_eq!(field_of("{}"), "alerts");
    assert_eq!(
        field_of(r#"{"commonLabels":{"a":{}},"alerts":[{}]}"#),
        "commonLabels.a"
    );
    let too_many = format!(r#"{{"alerts":[{}{{}}]}}"#, "{},".repeat(78_000));
    let error = read(too_many, true, now()).unwrap_err();
    assert_eq!(error.field, "alerts");
    assert!(error.message.contains("78001"), "{error:?}");

    let rejected = |alert: Value| fields(judge_one(&alert));
    assert_eq!(rejected(json!(7)), ["alerts[0]"]);
    assert_eq!(
        rejected(json!({ "labels": { "alertname": [] } })),
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

#[test]
fn errors_are_short_whatever_was_sent() {
    let long = "x".repeat(100_000);
    for alert in [
        json!({ "status": long, "labels": { "alertname": "A" } }),
        json!({ "startsAt": [long], "labels": { "alertname": "A" } }),
        json!({ "labels": { "alertname": "A", (long.clone()): {} } }),
        json!({ "labels": long }),
    ] {
        for error in judge_one(&alert).unwrap_err() {
            assert!(error.field.len() + error.message.len() < 1_000, "{error:?}");
        }
    }
}

#[test]
fn what_is_stored_is_bounded_and_what_it_was_cut_from_is_named() {
    let long = "x".repeat(120_000);
    let body = json!({
        "commonLabels": { "job": "a", "long": long },
        "commonAnnotations": { "description": long },
        "alerts": [
            { "labels": { "alertname": "A" } },
            { "labels": { "alertname": "B" }, "annotations": { "own": "y".repeat(40_000) } },
        ],
    });
    let reading = read_value(&body);
    for (position, truncated) in [
        (0, vec!["signalLabels", "signalAnnotations"]),
        (1, vec!["signalLabels", "signalAnnotations", "originalPayload"]),
    ] {
        let signal = reading.judge(&Rules::default(), position).unwrap().signal;
        assert_eq!(signal.truncated, truncated);
        for texts in [&signal.labels, &signal.annotations] {
            let size: usize = texts.iter().map(|(name, text)| name.len() + text.len()).sum();
            assert!(size <= 16 << 10, "{size}");
        }
        assert_eq!(signal.labels["job"], "a");
    }
}
