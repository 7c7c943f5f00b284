//! The drain under entries that PostgreSQL cannot store as they come: too large, too slow, blocked.

use std::sync::Arc;

use serde_json::json;

use crate::stack::{STREAM, Servers, Service, event, id_of, name, until};

#[test]
fn group_that_takes_too_long_is_halved_and_a_slow_entry_dead_lettered() {
    let service = Service::start_with_postgresql(
        Arc::new(Servers::own()),
        "statement_timeout_ms = 1000",
        "[stream]\ndrain_interval_ms = 100\nmax_attempts = 3\n",
    );
    service.servers.sql(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_sleep(CASE WHEN NEW.severity = 'endless' THEN 60 ELSE 0.1 END); RETURN NEW; END $$;
         CREATE TRIGGER wait BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION wait()",
    );
    let correlation = name("slow");
    service.servers.postgres.stop().unwrap();
    let mut sent = Vec::new();
    for number in 0..24 {
        let mut event = event(&correlation);
        if number == 5 {
            event["severity"] = json!("endless");
        } else {
            sent.push(id_of(&event));
        }
        assert_eq!(service.write(&event).status, 202);
    }
    service.servers.postgres.restart().unwrap();
    until("every other event, and a dead letter", 120, || {
        let stored = service
            .servers
            .count("SELECT count(*) FROM audit_events WHERE severity <> 'endless'");
        let dead = service.metric(r#"datastorage_dead_letters{stream="events"}"#);
        match (stored, dead) {
            (23, 1.0) => Ok(()),
            state => Err(format!("{state:?}\n{}", service.log())),
        }
    });
    assert_eq!(service.servers.waiting(), 0);
    let stored: Vec<String> = service.events(&correlation).iter().map(id_of).collect();
    assert!(sent.iter().all(|id| stored.contains(id)));
    assert!(service.log().contains("halving"));
    let letter = service.run(&["dlq", "list"], &[]);
    let letter: serde_json::Value = serde_json::from_slice(&letter.stdout).unwrap();
    assert_eq!(letter["attempts"], 3);
    assert!(
        letter["reason"].as_str().unwrap().contains("57014"),
        "{}",
        letter["reason"]
    );
    let spill = service.readyz().1["dependencies"]["spill"].clone();
    assert!(
        spill["detail"].as_str().unwrap().contains("dead letters"),
        "{spill}"
    );
}

#[test]
fn memory_follows_bytes_not_entries() {
    let servers = Arc::new(Servers::own());
    let service = Service::start_with(Arc::clone(&servers), "");
    let correlation = name("large");
    servers.postgres.stop().unwrap();
    let mut large = event(&correlation);
    large["event_data"] = json!({"a": "x".repeat(240_000)});
    for _ in 0..120 {
        large["event_id"] = event(&correlation)["event_id"].clone();
        assert_eq!(service.write(&large).status, 202);
    }
    drop(service);
    servers.postgres.restart().unwrap();
    // A process that only drains.
    let service = Service::start_with(servers, "");
    let mut peak = 0;
    until("an empty stream", 120, || {
        peak = peak.max(service.memory_kib());
        match service.servers.waiting() {
            0 => Ok(()),
            waiting => Err(format!("{waiting} entries")),
        }
    });
    assert_eq!(service.servers.count("SELECT count(*) FROM audit_events"), 120);
    assert!(peak < 128 << 10, "{peak} KiB");
}

#[test]
fn stuck_drain_is_reported_with_its_reason() {
    let service = Service::start_with_postgresql(
        Arc::new(Servers::own()),
        "lock_timeout_ms = 300",
        "[stream]\nstuck_after_ms = 1000\ndrain_interval_ms = 100\n",
    );
    let correlation = name("stuck");
    // Its partitions and chain exist.
    assert_eq!(service.write(&event(&correlation)).status, 201);
    let held = service
        .servers
        .hold("LOCK TABLE audit_event_ids IN ACCESS EXCLUSIVE MODE");
    let _: String = service
        .servers
        .redis(&["XADD", STREAM, "*", "body", &event(&correlation).to_string()]);
    let stuck = r#"datastorage_spill_stuck{stream="events"}"#;
    let spill = || service.readyz().1["dependencies"]["spill"].clone();
    until("readiness to report it", 60, || {
        let spill = spill();
        let detail = spill["detail"].as_str().unwrap_or_default();
        if spill["status"] == "down" && detail.contains("stuck") && detail.contains("lock timeout") {
            Ok(())
        } else {
            Err(spill.to_string())
        }
    });
    assert_eq!(service.metric(stuck), 1.0);
    assert_eq!(service.readyz().0, 200, "it accepts writes");
    assert!(service.log().contains("the drain is stuck"));
    drop(held);
    until("the drain to go on", 60, || {
        let spill = spill();
        if spill["status"] == "ok" {
            Ok(())
        } else {
            Err(spill.to_string())
        }
    });
    assert_eq!(service.metric(stuck), 0.0);
    assert_eq!(service.events(&correlation).len(), 2);
}
