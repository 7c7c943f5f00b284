//! Partitions, holds and retention.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::stack::{Servers, Service, event, name, until};

const HOLD: &str = "/api/v1/audit/legal-hold";

/// Puts an event of any age into the stream for the drain: events that waited long are stored too.
fn store_old(service: &Service, correlation: &str, days: i64, retention_days: Option<i32>) {
    let mut old = event(correlation);
    old["event_timestamp"] =
        json!((jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days)).to_string());
    old["retention_days"] = json!(retention_days);
    let before = service.events(correlation).len();
    let _: String = service
        .servers
        .redis(&["XADD", "audit:dlq:events", "*", "body", &old.to_string()]);
    until("the old event", 60, || match service.events(correlation).len() {
        count if count == before + 1 => Ok(()),
        count => Err(format!("{count} events")),
    });
}

fn partitions(service: &Service) -> Vec<String> {
    service
        .servers
        .sql(
            "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid
              WHERE inhparent = 'audit_events'::regclass ORDER BY 1",
        )
        .into_iter()
        .flatten()
        .flatten()
        .collect()
}

#[test]
fn partitions_are_created_at_start_and_when_a_write_needs_one() {
    let service = Service::start();
    let made = until("five partitions", 60, || {
        let found = partitions(&service);
        if found.len() == 5 {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    });
    // As at a month's end without a partition, with sessions that have cached plans of the table.
    let correlation = name("month");
    assert_eq!(service.write(&event(&correlation)).status, 201);
    for partition in &made {
        service.servers.sql(&format!("DROP TABLE {partition}"));
    }
    service
        .servers
        .sql("DELETE FROM audit_chain_heads; DELETE FROM audit_event_ids");
    for _ in 0..3 {
        assert_eq!(service.write(&event(&correlation)).status, 201);
    }
    assert_eq!(service.verify(&correlation)["total_events"], 3);
    assert_eq!(partitions(&service).len(), 1);
    let again = service.replica();
    until("five partitions", 60, || match partitions(&again).len() {
        5 => Ok(()),
        count => Err(format!("{count}")),
    });
}

fn place_hold(service: &Service, correlation: &str) {
    let hold = service.post(
        HOLD,
        &json!({"correlation_id": correlation, "reason": "case 7", "placed_by": "legal"}),
    );
    assert_eq!(hold.status, 201, "{}", hold.text);
}

fn release_hold(service: &Service, correlation: &str) {
    let path = format!("{HOLD}?correlation_id={correlation}&released_by=judge");
    let released = service.send("DELETE", &path, None, &[]);
    assert_eq!(
        (released.status, released.json()["released_by"].clone()),
        (200, json!("judge"))
    );
}

#[test]
fn events_that_are_stored_after_their_hold_are_held() {
    let service = Service::start();
    let correlation = name("early");
    let hold = service.post(HOLD, &json!({"correlation_id": correlation, "reason": "case 8"}));
    assert_eq!((hold.status, &hold.json()["has_events"]), (201, &json!(false)));
    assert_eq!(service.write(&event(&correlation)).status, 201);
    let listed = service
        .get(&format!("{HOLD}?correlation_id={correlation}"))
        .json();
    assert_eq!(listed["holds"][0]["has_events"], true);
    let delete = format!("DELETE FROM audit_events WHERE correlation_id = '{correlation}'");
    assert!(service.servers.rejected_sql(&delete).contains("legal hold"));
}

#[test]
fn chain_is_held_once_until_it_is_released_once() {
    let service = Service::start();
    let correlation = name("held");
    assert_eq!(service.write(&event(&correlation)).status, 201);
    place_hold(&service, &correlation);
    let again = json!({"correlation_id": correlation, "reason": "again"});
    assert_eq!(service.post(HOLD, &again).status, 409);
    assert_eq!(
        service
            .post(HOLD, &json!({"correlation_id": correlation}))
            .fields(),
        ["reason"]
    );
    let listed: Value = service.get(HOLD).json();
    assert_eq!(
        (&listed["total"], &listed["holds"][0]["placed_by"]),
        (&json!(1), &json!("legal"))
    );

    // SQL is rejected too, for the service's own role and any other without the right to disable triggers.
    let delete = format!("DELETE FROM audit_events WHERE correlation_id = '{correlation}'");
    assert!(service.servers.rejected_sql(&delete).contains("legal hold"));

    release_hold(&service, &correlation);
    let again = service.send("DELETE", &format!("{HOLD}/{correlation}"), None, &[]);
    assert_eq!(again.status, 404);
}

#[test]
fn retention_removes_expired_events_keeps_held_ones_and_leaves_valid_chains() {
    let servers = Arc::new(Servers::shared());
    let more = "[stream]\ndrain_interval_ms = 20\n[retention]\nenabled = false\n";
    let service = Service::start_with(Arc::clone(&servers), more);
    let (gone, partly, held, kept) = (name("gone"), name("partly"), name("held"), name("kept"));
    for (correlation, days, retention) in [
        (&gone, 100, Some(30)),
        (&partly, 70, Some(30)),
        (&partly, 69, Some(2000)),
        (&partly, 68, Some(30)),
        (&held, 100, Some(30)),
        (&held, 70, Some(30)),
        (&kept, 100, None),
    ] {
        store_old(&service, correlation, days, retention);
    }
    assert_eq!(service.write(&event(&partly)).status, 201);
    place_hold(&service, &held);
    let before = partitions(&service).len();
    let (_, servers, _) = service.stop();
    let service = Service::start_with(servers, "[retention]\ninterval_ms = 1000\n");
    let removed = |correlation: &str, count: i64| {
        until("a chain without events", 30, || {
            let verification = service.verify(correlation);
            assert_eq!(verification["is_valid"], true, "{verification}");
            match verification["expired_events"] == count && verification["total_events"] == 0 {
                true => Ok(()),
                false => Err(verification.to_string()),
            }
        });
    };
    removed(&gone, 1);
    until("retention", 30, || match service.events(&partly).len() {
        2 => Ok(()),
        count => Err(format!("{count} events")),
    });
    assert_eq!(service.events(&gone).len(), 0);
    assert_eq!((service.events(&held).len(), service.events(&kept).len()), (2, 1));
    let verification = service.verify(&partly);
    assert_eq!(
        (&verification["is_valid"], &verification["expired_events"]),
        (&json!(true), &json!(2)),
        "{verification}"
    );
    assert_eq!(service.verify(&held)["is_valid"], true);
    assert_eq!(service.write(&event(&partly)).status, 201);
    assert_eq!(service.verify(&partly)["is_valid"], true);

    // After the release the month without events to keep is dropped as a whole.
    service.servers.sql(&format!(
        "SET session_replication_role = replica; UPDATE audit_events SET retention_days = 30 WHERE correlation_id = '{kept}'"
    ));
    release_hold(&service, &held);
    until("the oldest month dropped", 30, || {
        match (partitions(&service).len(), service.events(&held).len()) {
            (now, 0) if now < before => Ok(()),
            state => Err(format!("{state:?}, {before} before")),
        }
    });
    removed(&held, 2);
    removed(&kept, 1);

    // A removed chain goes on where it ended.
    for correlation in [&gone, &held, &kept] {
        assert_eq!(service.write(&event(correlation)).status, 201);
        let verification = service.verify(correlation);
        assert_eq!(verification["is_valid"], true, "{verification}");
        assert_eq!(verification["total_events"], 1);
    }
}
