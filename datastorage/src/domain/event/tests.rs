use super::*;
use serde_json::{Value, json};

pub(crate) const NOW: Micros = Micros(1_800_000_000_000_000);

pub(crate) fn read(value: &Value) -> Result<Event, Vec<Invalid>> {
    Event::read(value.to_string().as_bytes(), NOW, None)
}

pub(crate) fn valid() -> Value {
    json!({
        "event_id": "0198c0de-0000-7000-8000-000000000001",
        "version": "1.0",
        "event_type": "gateway.signal.received",
        "event_timestamp": NOW.to_timestamp().to_string(),
        "event_category": "gateway",
        "event_action": "received",
        "event_outcome": "success",
        "correlation_id": "rr-1",
        "event_data": {"b": 1.0, "a": "x"},
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut event = valid();
    event[field] = value;
    event
}

fn wrong(value: Value) -> Vec<(String, Reason)> {
    let invalid = read(&value).unwrap_err();
    invalid
        .into_iter()
        .map(|invalid| (invalid.field, invalid.reason))
        .collect()
}

#[test]
fn reads_a_valid_event_with_canonical_content() {
    let event = read(&valid()).unwrap();
    assert_eq!(
        event.content(),
        "{\"correlation_id\":\"rr-1\",\"event_action\":\"received\",\"event_category\":\"gateway\",\
         \"event_data\":{\"a\":\"x\",\"b\":1.0},\"event_id\":\"0198c0de-0000-7000-8000-000000000001\",\
         \"event_outcome\":\"success\",\"event_timestamp\":\"2027-01-15T08:00:00.000000Z\",\
         \"event_type\":\"gateway.signal.received\",\"version\":\"1.0\"}"
    );
    assert_eq!(
        Event::read_again(&event.content(), Numbers::Exact).unwrap(),
        event
    );
}

#[test]
fn every_field_survives_writing_and_reading() {
    let mut value = valid();
    for (field, set) in [
        ("actor_type", json!("service")),
        ("actor_id", json!("system:\"x\"\n")),
        ("resource_type", json!("Pod")),
        ("resource_id", json!("ü")),
        ("parent_event_id", json!("0198c0de-0000-7000-8000-000000000002")),
        ("namespace", json!("n")),
        ("cluster_name", json!("c")),
        ("severity", json!("critical")),
        ("duration_ms", json!(17)),
        ("error_code", json!("E")),
        ("error_message", json!("m")),
        ("retention_days", json!(2555)),
        ("event_timestamp", json!("2027-01-15T08:00:00.1234567Z")),
    ] {
        value[field] = set;
    }
    let event = read(&value).unwrap();
    assert_eq!(event.event_timestamp, Micros(NOW.0 + 123_456));
    let content: Value = serde_json::from_str(&event.content()).unwrap();
    assert_eq!(
        content.as_object().unwrap().len(),
        value.as_object().unwrap().len()
    );
    assert_eq!(
        Event::read_again(&event.content(), Numbers::Exact).unwrap(),
        event
    );
}

#[test]
fn reports_every_error_at_once() {
    assert_eq!(
        wrong(json!({
            "event_type": "x".repeat(101), "event_timestamp": "yesterday", "event_category": "kitchen",
            "event_action": "", "event_outcome": 1, "event_data": [], "event_id": "1", "duration_ms": -1,
            "retention_days": 2556, "namespace": "a\u{0}b", "colour": "blue",
        })),
        [
            ("event_id", Reason::Format),
            ("version", Reason::Required),
            ("event_type", Reason::Length),
            ("event_timestamp", Reason::Format),
            ("event_category", Reason::Choice),
            ("event_action", Reason::Required),
            ("event_outcome", Reason::Type),
            ("correlation_id", Reason::Required),
            ("event_data", Reason::Type),
            ("namespace", Reason::Format),
            ("duration_ms", Reason::Range),
            ("retention_days", Reason::Range),
            ("colour", Reason::Unknown),
        ]
        .map(|(field, reason)| (field.to_owned(), reason))
    );
}

#[test]
fn limits_apply_at_their_edges() {
    let day = 24 * 3600 * 1_000_000;
    for (field, fits, over, reason) in [
        (
            "event_type",
            json!("ü".repeat(100)),
            json!("ü".repeat(101)),
            Reason::Length,
        ),
        (
            "correlation_id",
            json!("x".repeat(255)),
            json!("x".repeat(256)),
            Reason::Length,
        ),
        (
            "event_timestamp",
            at(NOW.0 + 366 * day),
            at(NOW.0 + 366 * day + 1),
            Reason::Range,
        ),
        (
            "event_timestamp",
            at(NOW.0 - 2555 * day),
            at(NOW.0 - 2555 * day - 1),
            Reason::Range,
        ),
        (
            "event_data",
            of_bytes(MAX_DATA_BYTES),
            of_bytes(MAX_DATA_BYTES + 1),
            Reason::Length,
        ),
        ("event_data", of_depth(10), of_depth(11), Reason::Range),
    ] {
        assert!(read(&with(field, fits)).is_ok(), "{field}");
        assert_eq!(wrong(with(field, over)), [(field.to_owned(), reason)]);
    }
}

fn at(micros: i64) -> Value {
    json!(Micros(micros).to_timestamp().to_string())
}

fn of_bytes(bytes: usize) -> Value {
    json!({"a": "x".repeat(bytes - r#"{"a": ""}"#.len())})
}

fn of_depth(depth: usize) -> Value {
    (1..depth).fold(json!({}), |inner, _| json!({ "a": inner }))
}

#[test]
fn authenticated_client_is_the_actor() {
    let client = Client {
        name: "system:serviceaccount:a:b".to_owned(),
    };
    let event = Event::read(
        with("actor_id", json!("somebody else")).to_string().as_bytes(),
        NOW,
        Some(&client),
    )
    .unwrap();
    assert_eq!(event.actor_id.as_deref(), Some("system:serviceaccount:a:b"));
}
