//! Reading events.

use serde_json::{Value, json};

use crate::stack::{EVENTS, Service, event, name};

fn ids(answer: &Value) -> Vec<String> {
    answer["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn pages_by_offset_and_by_cursor_agree_and_a_cursor_is_stable() {
    let service = Service::start();
    let correlation = name("pages");
    let time = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let batch: Value = (0..95)
        .map(|number: i64| {
            let mut event = event(&correlation);
            // Several have the same time: the id decides.
            event["event_timestamp"] =
                json!((time + jiff::SignedDuration::from_secs(number / 3)).to_string());
            event
        })
        .collect();
    assert_eq!(service.post("/api/v1/audit/events/batch", &batch).status, 201);
    let all = ids(&service
        .get(&format!("{EVENTS}?correlation_id={correlation}&limit=1000"))
        .json());
    assert_eq!(all.len(), 95);
    let (mut by_offset, mut by_cursor, mut cursor) = (Vec::new(), Vec::new(), String::new());
    for offset in (0..95).step_by(20) {
        let page = service
            .get(&format!(
                "{EVENTS}?correlation_id={correlation}&limit=20&offset={offset}"
            ))
            .json();
        assert_eq!(page["pagination"]["total"], 95);
        assert_eq!(page["pagination"]["has_more"], offset < 80);
        by_offset.extend(ids(&page));
        let page = service
            .get(&format!("{EVENTS}?correlation_id={correlation}&limit=20{cursor}"))
            .json();
        by_cursor.extend(ids(&page));
        cursor = format!(
            "&cursor={}",
            page["pagination"]["next_cursor"].as_str().unwrap_or_default()
        );
        if offset == 0 {
            // Events that arrive after the first pages must not appear in the cursor's pages.
            let mut newer = event(&correlation);
            newer["event_timestamp"] = json!(jiff::Timestamp::now().to_string());
            newer["correlation_id"] = json!(name("other"));
            assert_eq!(service.write(&newer).status, 201);
        }
    }
    assert_eq!(by_offset, all);
    assert_eq!(by_cursor, all);
    assert_eq!(cursor, "&cursor=");
}

#[test]
fn every_filter_selects_exactly() {
    let service = Service::start();
    let correlation = name("filters");
    let mut odd = event(&correlation);
    for (field, value) in [
        ("event_type", json!("workflow.step.completed")),
        ("event_category", json!("workflow")),
        ("event_outcome", json!("failure")),
        ("severity", json!("warning")),
        (
            "event_timestamp",
            json!((jiff::Timestamp::now() - jiff::SignedDuration::from_hours(48)).to_string()),
        ),
        (
            "event_data",
            json!({"step": {"number": 7, "name": "a b&c"}, "done": true}),
        ),
    ] {
        odd[field] = value;
    }
    assert_eq!(service.write(&odd).status, 201);
    assert_eq!(service.write(&event(&correlation)).status, 201);
    for filter in [
        "event_type=workflow.step.completed",
        "event_category=workflow",
        "event_outcome=failure",
        "severity=warning",
        "until=24h",
        "since=3d&until=1440m",
        "detail_key=step.number&detail_value=7",
        "detail_key=step.name&detail_value=a%20b%26c",
        "detail_key=done&detail_value=true",
    ] {
        let answer = service.get(&format!("{EVENTS}?correlation_id={correlation}&{filter}"));
        assert_eq!(answer.status, 200, "{filter}: {}", answer.text);
        assert_eq!(
            ids(&answer.json()),
            [odd["event_id"].as_str().unwrap()],
            "{filter}"
        );
    }
    for (filter, field) in [
        ("event_categorie=workflow", "event_categorie"),
        ("limit=1001", "limit"),
        ("limit=0", "limit"),
        ("since=soon", "since"),
        ("cursor=1", "cursor"),
        (
            "cursor=7fffffffffffffffffffffffffffffffffffffffffffffff",
            "cursor",
        ),
        ("since=100000000d", "since"),
        ("until=-009999-01-01T00:00:00Z", "until"),
        ("severity=%00", "severity"),
    ] {
        let answer = service.get(&format!("{EVENTS}?{filter}"));
        assert_eq!(
            (answer.status, answer.fields()),
            (400, vec![field.to_owned()]),
            "{filter}"
        );
    }
    assert_eq!(
        service.get(&format!("{EVENTS}/{}", uuid::Uuid::now_v7())).status,
        404
    );
    assert_eq!(service.get(&format!("{EVENTS}/no-uuid")).status, 404);
}

#[test]
fn unstorable_times_and_paths_are_rejected_as_problems() {
    let service = Service::start();
    for path in ["/api/v1/audit/export", EVENTS] {
        let answer = service.get(&format!("{path}?since=100000000d"));
        assert_eq!((answer.status, answer.fields()), (400, vec!["since".to_owned()]));
    }
    let answer = service.get("/timeline/%ff");
    assert_eq!(
        (answer.status, answer.kind.as_str()),
        (400, "application/problem+json")
    );
}

#[test]
fn pages_of_large_events_end_by_bytes_and_go_on_at_their_cursor() {
    let service = Service::start_with(
        std::sync::Arc::new(crate::stack::Servers::shared()),
        "[query]\nmax_answer_bytes = 2097152\nanswers_bytes = 4194304\n",
    );
    let correlation = name("large");
    let mut sent = Vec::new();
    for _ in 0..20 {
        let mut event = event(&correlation);
        event["event_data"] = json!({"text": "x".repeat(250_000)});
        assert_eq!(service.write(&event).status, 201);
        sent.push(event["event_id"].as_str().unwrap().to_owned());
    }
    for limit in [20, 1000] {
        let (mut found, mut pages, mut cursor) = (Vec::new(), 0, String::new());
        loop {
            let answer = service.get(&format!(
                "{EVENTS}?correlation_id={correlation}&limit={limit}{cursor}"
            ));
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert!(answer.text.len() <= 2 << 20, "{} bytes", answer.text.len());
            let page = answer.json();
            found.extend(ids(&page));
            pages += 1;
            let pagination = &page["pagination"];
            assert_eq!(pagination["total"], 20);
            let Some(next) = pagination["next_cursor"].as_str() else {
                break;
            };
            assert_eq!(pagination["has_more"], true);
            cursor = format!("&cursor={next}");
        }
        found.sort();
        sent.sort();
        assert_eq!(found, sent, "limit={limit}");
        assert!((3..=4).contains(&pages), "{pages} pages");
    }
}

#[test]
fn openapi_document_is_served() {
    let service = Service::start();
    let document = service.get("/openapi.json");
    assert_eq!(
        (document.status, document.kind.as_str()),
        (200, "application/json")
    );
    let document = document.json();
    for path in [
        EVENTS,
        "/api/v1/audit/events/batch",
        "/api/v1/workflows/{workflow_id}",
        "/timeline/{correlation_id}",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}
