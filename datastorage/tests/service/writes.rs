//! Writing events and notifications.

use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::stack::{EVENTS, Servers, Service, event, name, until};

const BATCH: &str = "/api/v1/audit/events/batch";
const NOTIFICATIONS: &str = "/api/v1/audit/notifications";

#[test]
fn event_of_a_wrong_clock_is_stored_as_sent_and_marked() {
    let service = Service::start();
    let correlation = name("clock");
    for (hours, marked) in [
        (0, false),
        (1, true),
        (-8 * 24, true),
        (-300 * 24, true),
        (300 * 24, true),
    ] {
        let mut event = event(&correlation);
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        event["event_timestamp"] = json!(format!("{time:.6}"));
        // Retention removes what has expired.
        event["retention_days"] = json!(2555);
        let answer = service.write(&event);
        assert_eq!(answer.status, 201, "{}", answer.text);
        let id = event["event_id"].as_str().unwrap();
        let stored = service.get(&format!("{EVENTS}/{id}")).json();
        let read: jiff::Timestamp = stored["event_timestamp"].as_str().unwrap().parse().unwrap();
        assert_eq!(format!("{read:.6}"), format!("{time:.6}"));
        assert_eq!(stored.get("clock_skew").is_some(), marked, "{hours} h: {stored}");
    }
    assert_eq!(service.verify(&correlation)["is_valid"], true);
    assert_eq!(service.metric("datastorage_clock_skew_total"), 4.0);
}

#[test]
fn event_is_returned_as_sent_with_every_field() {
    let service = Service::start();
    let correlation = name("whole");
    let sent = event(&correlation);
    let answer = service.write(&sent);
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.json()["event_id"], sent["event_id"]);
    let id = sent["event_id"].as_str().unwrap();
    let one = service.get(&format!("{EVENTS}/{id}")).json();
    assert_eq!(service.events(&correlation), std::slice::from_ref(&one));
    for (field, value) in sent.as_object().unwrap() {
        if field != "event_timestamp" {
            assert_eq!(&one[field], value, "{field}");
        }
    }
    let time = |value: &Value| {
        value
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
            .as_microsecond()
    };
    assert_eq!(time(&one["event_timestamp"]), time(&sent["event_timestamp"]));
}

#[test]
fn concurrent_writes_of_one_id_are_one_row_and_another_body_is_a_conflict() {
    let service = Arc::new(Service::start());
    let replica = Arc::new(service.replica());
    let correlation = name("twice");
    let sent = event(&correlation);
    let writers: Vec<_> = (0..16)
        .map(|number| {
            let service = Arc::clone(if number % 2 == 0 { &service } else { &replica });
            let sent = sent.clone();
            thread::spawn(move || service.write(&sent).status)
        })
        .collect();
    for writer in writers {
        assert_eq!(writer.join().unwrap(), 201);
    }
    let mut other = sent.clone();
    other["event_data"]["count"] = json!(2);
    let answer = service.write(&other);
    assert_eq!(
        (answer.status, answer.fields()),
        (409, vec!["event_id".to_owned()])
    );
    // Also where the two belong to different chains and months.
    other["correlation_id"] = json!(name("elsewhere"));
    other["event_timestamp"] =
        json!((jiff::Timestamp::now() - jiff::SignedDuration::from_hours(160)).to_string());
    assert_eq!(service.write(&other).status, 409);
    assert_eq!(service.events(&correlation).len(), 1);
    assert_eq!(service.verify(&correlation)["is_valid"], true);
}

#[test]
fn retried_batch_does_not_double_its_rows() {
    let service = Service::start();
    let correlation = name("retried");
    let batch: Value = (0..50).map(|_| event(&correlation)).collect();
    let first = service.post(BATCH, &batch);
    assert_eq!(first.status, 201, "{}", first.text);
    let again = service.post(BATCH, &batch);
    assert_eq!(
        (again.status, again.json()["event_ids"].clone()),
        (201, first.json()["event_ids"].clone())
    );
    // With additional events: only the new ones are added.
    let mut longer = batch.as_array().unwrap().clone();
    longer.push(event(&correlation));
    assert_eq!(service.post(BATCH, &json!(longer)).status, 201);
    assert_eq!(service.events(&correlation).len(), 51);
}

#[test]
fn batch_is_stored_completely_in_order_or_not_at_all() {
    let service = Service::start();
    let correlation = name("batch");
    let batch: Vec<Value> = (0..1000).map(|_| event(&correlation)).collect();
    let answer = service.post(BATCH, &json!(batch));
    assert_eq!(answer.status, 201, "{}", answer.text);
    let ids: Vec<Value> = batch.iter().map(|event| event["event_id"].clone()).collect();
    assert_eq!(answer.json()["event_ids"], json!(ids));
    let mut stored = service.events(&correlation);
    stored.sort_by_key(|event| event["sequence"].as_i64());
    assert_eq!(
        stored
            .iter()
            .map(|event| event["event_id"].clone())
            .collect::<Vec<_>>(),
        ids
    );

    let correlation = name("none");
    let mut batch: Vec<Value> = (0..100).map(|_| event(&correlation)).collect();
    batch[7]["event_outcome"] = json!("perhaps");
    batch[93].as_object_mut().unwrap().remove("version");
    let answer = service.post(BATCH, &json!(batch));
    assert_eq!(answer.status, 400);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("event at index 7: event_outcome") && detail.contains("event at index 93: version"),
        "{detail}"
    );
    assert_eq!(answer.fields(), ["[7].event_outcome", "[93].version"]);
    // Errors that only the database can find: an id of another event, and a missing parent.
    let mut taken = event(&correlation);
    taken["event_id"] = ids[0].clone();
    assert_eq!(
        service.post(BATCH, &json!([event(&correlation), taken])).status,
        409
    );
    let mut orphan = event(&correlation);
    orphan["parent_event_id"] = json!(Uuid::now_v7());
    let answer = service.post(BATCH, &json!([event(&correlation), orphan]));
    assert_eq!(
        (answer.status, answer.fields()),
        (400, vec!["[1].parent_event_id".to_owned()])
    );
    assert_eq!(service.events(&correlation).len(), 0);
    // A parent that precedes its child in the same batch exists.
    let parent = event(&correlation);
    let mut child = event(&correlation);
    child["parent_event_id"] = parent["event_id"].clone();
    assert_eq!(service.post(BATCH, &json!([parent, child])).status, 201);
    for wrong in [json!([]), json!({}), json!(vec![Value::Null; 1001])] {
        assert_eq!(service.post(BATCH, &wrong).status, 400);
    }
}

#[test]
fn malformed_events_are_rejected_with_every_error_and_not_stored() {
    let service = Service::start();
    let correlation = name("malformed");
    for (field, value) in [
        ("event_type", json!("x".repeat(101))),
        ("event_timestamp", json!("yesterday")),
        ("event_timestamp", json!("2010-01-01T00:00:00Z")),
        ("event_category", json!("kitchen")),
        ("event_outcome", json!(null)),
        ("event_data", json!([])),
        ("event_data", json!({"a": "\u{0}"})),
        ("event_id", json!("1")),
        ("duration_ms", json!(-1)),
        ("colour", json!("blue")),
    ] {
        let mut sent = event(&correlation);
        sent[field] = value;
        let answer = service.write(&sent);
        assert_eq!(
            (answer.status, answer.fields()),
            (400, vec![field.to_owned()]),
            "{field}"
        );
    }
    let mut sent = event(&correlation);
    sent["version"] = json!(1);
    sent["severity"] = json!("x".repeat(21));
    sent["retention_days"] = json!(0);
    assert_eq!(
        service.write(&sent).fields(),
        ["version", "severity", "retention_days"]
    );
    assert_eq!(service.events(&correlation).len(), 0);
    let failures = r#"datastorage_validation_failures_total{field="event_timestamp",reason="format"}"#;
    assert_eq!(service.metric(failures), 1.0);
}

#[test]
fn database_accepts_what_the_api_accepts_at_its_limits() {
    let service = Service::start();
    let correlation = "ü".repeat(255);
    let mut sent = event(&correlation);
    for (field, max) in [
        ("version", 10),
        ("event_type", 100),
        ("event_action", 50),
        ("actor_type", 50),
        ("actor_id", 255),
        ("resource_type", 100),
        ("resource_id", 255),
        ("namespace", 253),
        ("cluster_name", 255),
        ("severity", 20),
        ("error_code", 100),
        ("error_message", 10_000),
    ] {
        sent[field] = json!("€".repeat(max));
    }
    sent["duration_ms"] = json!(i32::MAX);
    sent["retention_days"] = json!(2555);
    // 256 KiB in PostgreSQL's text form, with everything that it escapes or writes in another way.
    let data = json!({"a": "\u{1}\u{7f}\"\\\n", "b": 1e300, "c": -0.0, "d": u64::MAX, "e": 1e-7, "f": [1.0, {}], "z": ""});
    let used = "{\"a\": \"\\u0001\u{7f}\\\"\\\\\\n\", \"b\": , \"c\": 0.0, \"d\": 18446744073709551615, \
                \"e\": 0.0000001, \"f\": [1.0, {}], \"z\": \"\"}"
        .len()
        + 301;
    sent["event_data"] = data.clone();
    sent["event_data"]["z"] = json!("z".repeat(262_144 - used));
    let answer = service.write(&sent);
    assert_eq!(answer.status, 201, "{}", answer.text);
    let length = service
        .servers
        .count("SELECT max(octet_length(event_data::text)) FROM audit_events");
    assert_eq!(length, 262_144);
    sent["event_id"] = json!(Uuid::now_v7());
    sent["event_data"]["z"] = json!("z".repeat(262_145 - used));
    assert_eq!(service.write(&sent).fields(), ["event_data"]);
    // The hashed text can be computed again from what is stored.
    let verification = service
        .post(
            "/api/v1/audit/verify-chain",
            &json!({ "correlation_id": correlation }),
        )
        .json();
    assert_eq!(verification["is_valid"], true, "{verification}");
}

#[test]
fn eighty_writers_are_served_by_a_few_connections() {
    let service = Arc::new(Service::start_with(
        Arc::new(Servers::shared()),
        "[writer]\ncommitters = 2\n",
    ));
    let correlation = name("many");
    let writers: Vec<_> = (0..80)
        .map(|_| {
            let (service, correlation) = (Arc::clone(&service), correlation.clone());
            thread::spawn(move || {
                (0..5)
                    .map(|_| service.write(&event(&correlation)).status)
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    for writer in writers {
        assert_eq!(writer.join().unwrap(), [201; 5]);
    }
    assert_eq!(service.events(&correlation).len(), 400);
    let database = &service.servers.database;
    let connections = service.servers.count(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND application_name = 'datastorage'"
    ));
    // 2 committers, the drain, the readiness check, retention, and the used ones of the pool.
    assert!((2..=8).contains(&connections), "{connections} connections");
    let sizes = service.metric("datastorage_commit_group_size_sum")
        / service.metric("datastorage_commit_group_size_count");
    assert!(sizes > 1.0, "no group held more than one event: {sizes}");
}

/// Waits for the partitions: their creation needs locks and connections that a test counts.
fn partitions_are_made(service: &Service) {
    until("the partitions", 60, || {
        let count = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit_events'::regclass";
        match service.servers.count(count) {
            5 => Ok(()),
            count => Err(format!("{count} of 5")),
        }
    });
}

#[test]
fn pool_has_its_configured_size() {
    for size in [3, 7] {
        let servers = Arc::new(Servers::shared());
        let section = format!("pool_size = {size}\nstatement_timeout_ms = 20000\nlock_timeout_ms = 20000");
        let service = Arc::new(Service::start_with_postgresql(servers, &section, ""));
        partitions_are_made(&service);
        // Blocks all readers until it is dropped.
        let held = service
            .servers
            .hold("LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE");
        let readers: Vec<_> = (0..12)
            .map(|_| {
                let service = Arc::clone(&service);
                thread::spawn(move || service.get(EVENTS).status)
            })
            .collect();
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'datastorage'
             AND wait_event_type = 'Lock' AND query LIKE 'SELECT event_id,%'",
            service.servers.database
        );
        until("every connection of the pool waits", 60, || {
            match service.servers.count(&waiting) {
                count if count == size => Ok(()),
                count => Err(format!("{count} of {size}")),
            }
        });
        drop(held);
        let answers: Vec<u16> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        assert!(answers.contains(&200), "{answers:?}");
    }
}

#[test]
fn full_queue_rejects_and_stores_what_it_accepted() {
    let servers = Arc::new(Servers::shared());
    let more = "[writer]\nqueue_bytes = 8388608\ncommit_timeout_ms = 20000\nwrite_timeout_ms = 30000\n";
    let timeouts = "statement_timeout_ms = 20000\nlock_timeout_ms = 20000";
    let service = Arc::new(Service::start_with_postgresql(servers, timeouts, more));
    let correlation = name("large");
    partitions_are_made(&service);
    assert_eq!(service.write(&event(&correlation)).status, 201);
    // Blocks all writers until it is dropped.
    let held = service.servers.hold("LOCK TABLE audit_events IN SHARE MODE");
    // Of 197 KiB each: 41 fit a queue of 8 MiB.
    let writers: Vec<_> = (0..60)
        .map(|_| {
            let (service, correlation) = (Arc::clone(&service), correlation.clone());
            thread::spawn(move || {
                let mut large = event(&correlation);
                large["event_data"] = json!({"a": "x".repeat(200_000)});
                let answer = service.write(&large);
                (answer.status, answer.retry_after)
            })
        })
        .collect();
    // The rejections come within seconds, while the others wait.
    until("the rejected writers", 60, || {
        match writers.iter().filter(|writer| writer.is_finished()).count() {
            19 => Ok(()),
            count => Err(format!("{count} answered")),
        }
    });
    drop(held);
    let answers: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    let (rejected, taken): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.0 == 503);
    assert_eq!(rejected.len(), 19, "{answers:?}");
    assert!(rejected.iter().all(|answer| answer.1.is_some()), "Retry-After");
    assert!(taken.iter().all(|answer| answer.0 == 201), "{answers:?}");
    assert_eq!(service.events(&correlation).len(), taken.len() + 1);
    assert_eq!(
        service.write(&event(&correlation)).status,
        201,
        "there is room again"
    );
}

#[test]
fn body_over_the_limit_is_rejected() {
    let service = Service::start();
    let correlation = name("body");
    let mut large = event(&correlation);
    large["event_data"] = json!({"a": "x".repeat(200_000)});
    assert_eq!(service.post(BATCH, &json!(vec![large; 30])).status, 413);
    assert_eq!(service.events(&correlation).len(), 0);
}

#[test]
fn notifications_are_stored_once_and_invalid_ones_rejected() {
    let service = Service::start();
    let id = name("notification");
    let notification = json!({
        "notification_id": id, "remediation_id": "rr-1", "recipient": "ops@example.com", "channel": "email",
        "message_summary": "restarted", "status": "sent", "sent_at": jiff::Timestamp::now().to_string(),
        "delivery_status": "250 OK", "escalation_level": 1,
    });
    let answer = service.post(NOTIFICATIONS, &notification);
    assert_eq!(
        (answer.status, answer.json()["notification_id"].clone()),
        (201, json!(id)),
        "{}",
        answer.text
    );
    assert_eq!(service.post(NOTIFICATIONS, &notification).status, 409);
    let mut wrong = notification.clone();
    wrong["status"] = json!("lost");
    wrong["channel"] = json!("");
    assert_eq!(
        service.post(NOTIFICATIONS, &wrong).fields(),
        ["channel", "status"]
    );
    assert_eq!(
        service.servers.count("SELECT count(*) FROM audit_notifications"),
        1
    );
}
