//! Erasure of event data.

use std::fs;

use serde_json::json;

use crate::stack::{EVENTS, Service, event, id_of, name, text};

const SECRET: &str = "jane.doe@example.com";

fn path(id: &str) -> String {
    format!("{EVENTS}/{id}/data?reason=request%2017&erased_by=privacy")
}

/// A chain of three events, the second with personal data; returns its name and the second event.
fn chain(service: &Service) -> (String, serde_json::Value) {
    let correlation = name("erased");
    let mut events: Vec<_> = (0..3).map(|_| event(&correlation)).collect();
    events[1]["event_data"] = json!({"user": SECRET, "amount": 1.50});
    for event in &events {
        assert_eq!(service.write(event).status, 201);
    }
    (correlation, events.swap_remove(1))
}

#[test]
fn erased_data_is_gone_and_its_chain_still_verifies() {
    let service = Service::start();
    let (correlation, secret) = chain(&service);
    let id = id_of(&secret);
    for _ in 0..2 {
        assert_eq!(service.send("DELETE", &path(&id), None, &[]).status, 204);
    }
    let stored = service.get(&format!("{EVENTS}/{id}")).json();
    assert_eq!(stored["event_data"], json!({}));
    assert_eq!(stored["event_data_hash"].as_str().unwrap().len(), 64);
    assert_eq!(stored["actor_id"], secret["actor_id"], "the rest stays");
    let verification = service.verify(&correlation);
    assert_eq!(verification["tampered_events"], json!([]), "{verification}");
    let left = "SELECT count(*) FROM audit_events WHERE event_data::text LIKE '%jane%' OR (event_data = '{}' AND data_salt IS NOT NULL)";
    assert_eq!(service.servers.count(left), 0);
    let reasons = service.servers.sql("SELECT entry FROM audit_log_pending WHERE kind > 5 UNION ALL SELECT entry FROM audit_log_leaves WHERE kind > 5");
    let reasons = format!("{reasons:?}");
    assert!(
        reasons.contains("privacy") && reasons.contains("request 17") && !reasons.contains("jane"),
        "{reasons}"
    );

    let export = service.get(&format!("/api/v1/audit/export?correlation_id={correlation}"));
    assert!(!export.text.contains("jane") && export.text.contains("event_data_hash"));
    let file = service.folder.path().join("export.ndjson");
    fs::write(&file, &export.text).unwrap();
    let verified = service.run(&["verify-export"], &[file.to_str().unwrap()]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    // Its content is not known any more: a repeat cannot be compared with it.
    assert_eq!(service.write(&secret).status, 409);
    assert_eq!(service.write(&event(&correlation)).status, 201);
}

#[test]
fn erasure_is_rejected_for_held_and_unknown_events_and_without_a_reason() {
    let service = Service::start();
    let (correlation, secret) = chain(&service);
    let id = id_of(&secret);
    let status = |path: &str| service.send("DELETE", path, None, &[]).status;
    assert_eq!(status(&format!("{EVENTS}/{id}/data")), 400);
    assert_eq!(status(&path("01990000-0000-7000-8000-000000000000")), 404);
    assert_eq!(status(&path("x")), 404);
    let hold = json!({"correlation_id": correlation, "reason": "case 9"});
    assert_eq!(service.post("/api/v1/audit/legal-hold", &hold).status, 201);
    assert_eq!(status(&path(&id)), 409);
    let erase = format!(
        "UPDATE audit_events SET event_data = '{{}}', data_salt = NULL, event_data_hash = sha256('x') WHERE event_id = '{id}'"
    );
    assert!(service.servers.rejected_sql(&erase).contains("append-only"));
    service.servers.sql(
        "SET session_replication_role = replica; UPDATE audit_events SET hash_format = 1, data_salt = NULL",
    );
    let release = format!("/api/v1/audit/legal-hold?correlation_id={correlation}");
    assert_eq!(service.send("DELETE", &release, None, &[]).status, 200);
    assert_eq!(status(&path(&id)), 409, "format 1");
}

#[test]
fn erasure_by_sql_alone_is_reported() {
    let service = Service::start();
    let (correlation, secret) = chain(&service);
    let id = id_of(&secret);
    for (change, allowed) in [
        ("event_data_hash = sha256('x')", false),
        ("event_data = '{}', data_salt = NULL", false),
        (
            "event_data = '{}', data_salt = NULL, event_data_hash = sha256('x'), severity = 'low'",
            false,
        ),
        // With the right hash even its chain would verify.
        (
            "event_data_hash = sha256(data_salt || convert_to('{\"amount\":1.5,\"user\":\"jane.doe@example.com\"}', 'UTF8')), \
             event_data = '{}', data_salt = NULL",
            true,
        ),
    ] {
        let sql = format!("UPDATE audit_events SET {change} WHERE event_id = '{id}'");
        if allowed {
            service.servers.sql(&sql);
        } else {
            assert!(
                service.servers.rejected_sql(&sql).contains("append-only"),
                "{change}"
            );
        }
    }
    let verification = service.verify(&correlation);
    let tampered = verification["tampered_events"].as_array().unwrap();
    assert_eq!(tampered.len(), 1, "{verification}");
    assert!(
        tampered[0]["sequence"] == 2 && tampered[0]["detail"].as_str().unwrap().contains("was erased"),
        "{verification}"
    );
}
