//! The stream of writes while PostgreSQL is unavailable: its bounds, its latency, and what it says about Redis.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stack::relay::Relay;
use crate::stack::{EVENTS, STREAM, Servers, Service, event, name, text, until};

fn large(correlation: &str, bytes: usize) -> Value {
    let mut event = event(correlation);
    event["event_data"] = json!({"a": "x".repeat(bytes)});
    event
}

/// Writes events of this size until one is rejected; returns how many were accepted.
fn fill(service: &Service, correlation: &str, bytes: usize) -> usize {
    for accepted in 0..1000 {
        let answer = service.write(&large(correlation, bytes));
        if answer.status != 202 {
            assert_eq!(
                (answer.status, answer.retry_after.is_some()),
                (503, true),
                "{}",
                answer.text
            );
            return accepted;
        }
    }
    panic!("1000 writes were accepted");
}

fn until_empty(service: &Service) {
    until("an empty stream", 60, || match service.servers.waiting() {
        0 => Ok(()),
        waiting => Err(format!("{waiting} entries\n{}", service.log())),
    });
}

#[test]
fn bytes_are_bounded_together_with_dead_letters() {
    let more = "[stream]\nmax_bytes = 1048576\ndrain_interval_ms = 100\n";
    let service = Service::start_with(Arc::new(Servers::own()), more);
    service
        .servers
        .sql("ALTER TABLE audit_events ADD CONSTRAINT rejected_severity CHECK (severity <> 'unstorable')");
    let correlation = name("bytes");
    service.servers.postgres.stop().unwrap();
    assert_eq!(fill(&service, &correlation, 100_000), 10);
    until("readiness to report it", 30, || {
        let spill = service.readyz().1["dependencies"]["spill"].clone();
        if spill["detail"].as_str().unwrap_or_default().contains("max_bytes") {
            Ok(())
        } else {
            Err(spill.to_string())
        }
    });
    assert!(service.metric("datastorage_spill_bytes") > 1_000_000.0);
    assert_eq!(
        service.metric(r#"datastorage_writes_rejected_total{reason="stream_full"}"#),
        1.0
    );

    service.servers.postgres.restart().unwrap();
    until_empty(&service);
    service.servers.postgres.stop().unwrap();
    for _ in 0..5 {
        let mut unstorable = large(&correlation, 100_000);
        unstorable["severity"] = json!("unstorable");
        assert_eq!(service.write(&unstorable).status, 202, "drained bytes are free");
    }
    service.servers.postgres.restart().unwrap();
    until_empty(&service);
    service.servers.postgres.stop().unwrap();
    assert_eq!(fill(&service, &correlation, 100_000), 5, "dead letters count");

    let dropped = service.run(&["dlq", "drop"], &["--all"]);
    assert!(dropped.status.success(), "{}", text(&dropped));
    assert_eq!(fill(&service, &correlation, 100_000), 5, "dropped ones don't");
}

#[test]
fn redis_without_memory_rejects_writes_and_can_be_drained() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("memory");
    let redis = |value| {
        let _: String = service.servers.redis(&["CONFIG", "SET", "maxmemory", value]);
    };
    service.servers.postgres.stop().unwrap();
    redis("8mb");
    let accepted = fill(&service, &correlation, 100_000);
    assert!(accepted > 0);
    assert_eq!(
        service.metric(r#"datastorage_writes_rejected_total{reason="redis_full"}"#),
        1.0
    );
    // Even a Redis that is far above its limit must be drained: nothing else frees its memory.
    redis("1mb");
    service.servers.postgres.restart().unwrap();
    until_empty(&service);
    assert_eq!(service.events(&correlation).len(), accepted);
}

#[test]
fn spilled_writes_share_round_trips() {
    const WRITERS: usize = 32;
    const EACH: usize = 6;
    let servers = Arc::new(Servers::own());
    let relay = Relay::to(servers.redis.port());
    let service = Arc::new(Service::start_through(&[&relay], servers, ""));
    service.servers.postgres.stop().unwrap();
    assert_eq!(service.write(&event(&name("first"))).status, 202);
    relay.delay(Duration::from_millis(50));
    let scripts = || {
        let stats: String = service.servers.redis(&["INFO", "commandstats"]);
        let calls = stats.split("cmdstat_eval:calls=").nth(1).unwrap();
        calls.split(',').next().unwrap().parse::<usize>().unwrap()
    };
    let before = scripts();
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let service = Arc::clone(&service);
            thread::spawn(move || {
                for _ in 0..EACH {
                    assert_eq!(service.write(&event(&format!("trip-{number}"))).status, 202);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    // Those of the service's periodic checks, too.
    let trips = scripts() - before;
    assert!(
        trips < WRITERS * EACH / 2,
        "{trips} trips of {} writes",
        WRITERS * EACH
    );
    assert_eq!(service.servers.waiting(), 1 + (WRITERS * EACH) as u64);
}

#[test]
fn stalled_stores_are_answered_in_time() {
    let servers = Arc::new(Servers::own());
    let postgres = Relay::to(servers.postgres.port());
    let redis = Relay::to(servers.redis.port());
    let more = "[writer]\ncommit_timeout_ms = 500\nwrite_timeout_ms = 2500\n";
    let service = Arc::new(Service::start_through(&[&postgres, &redis], servers, more));
    let writes = |wanted: u16| {
        until("the stores to work", 60, || {
            match service.write(&event(&name("working"))).status {
                status if status == wanted => Ok(()),
                status => Err(status.to_string()),
            }
        });
    };
    writes(201);
    postgres.stall(true);
    redis.stall(true);
    let writers: Vec<_> = (0..24)
        .map(|number| {
            let service = Arc::clone(&service);
            thread::spawn(move || {
                let begin = Instant::now();
                let answer = service.write(&event(&format!("stalled-{number}")));
                (answer.status, answer.retry_after.is_some(), begin.elapsed())
            })
        })
        .collect();
    for writer in writers {
        let (status, retry_after, elapsed) = writer.join().unwrap();
        assert_eq!((status, retry_after), (503, true));
        assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
    }
    let notification = json!({"notification_id": name("n"), "remediation_id": "r", "recipient": "a", "channel": "email",
        "message_summary": "m", "status": "sent", "sent_at": jiff::Timestamp::now().to_string()});
    let begin = Instant::now();
    assert_eq!(
        service.post("/api/v1/audit/notifications", &notification).status,
        503
    );
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    redis.stall(false);
    writes(202);
    postgres.stall(false);
    writes(201);
}

/// Holds the lock of the drain until it is dropped.
const HOLD_DRAIN: &str = "SELECT pg_advisory_lock(7022629598040908914)";

#[test]
fn child_of_a_parent_in_the_stream_is_accepted_behind_it() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("family");
    let held = service.servers.hold(HOLD_DRAIN);
    let parent = event(&correlation);
    let _: String = service
        .servers
        .redis(&["XADD", STREAM, "*", "body", &parent.to_string()]);
    let mut child = event(&correlation);
    child["parent_event_id"] = parent["event_id"].clone();
    assert_eq!(service.write(&child).status, 202);
    let mut other = event(&correlation);
    other["parent_event_id"] = parent["event_id"].clone();
    let batch = json!([event(&correlation), other]);
    assert_eq!(service.post(&format!("{EVENTS}/batch"), &batch).status, 202);
    assert_eq!(
        service.write(&event(&correlation)).status,
        201,
        "others don't wait"
    );
    drop(held);
    until_empty(&service);
    assert_eq!(service.events(&correlation).len(), 5);
    assert_eq!(service.verify(&correlation)["is_valid"], true);
    // Without entries there is no parent to wait for.
    let mut orphan = event(&correlation);
    orphan["parent_event_id"] = event(&correlation)["event_id"].clone();
    let answer = service.write(&orphan);
    assert_eq!(
        (answer.status, answer.fields()),
        (400, vec!["parent_event_id".to_owned()])
    );
    // Without Redis it is unknown whether the parent waits: a later attempt may succeed.
    service.servers.redis.stop().unwrap();
    assert_eq!(service.write(&orphan).status, 503);
    assert_eq!(service.write(&event(&correlation)).status, 201);
}

#[test]
fn redis_that_may_lose_entries_is_reported() {
    let servers = Arc::new(Servers::shared());
    let detail = |service: &Service, wanted: &[&str]| {
        until("readiness to report Redis", 30, || {
            let redis = service.readyz().1["dependencies"]["redis"].clone();
            let detail = redis["detail"].as_str().unwrap_or_default();
            let is_right = wanted.iter().all(|part| detail.contains(part));
            if redis["status"] == "ok" && is_right && wanted.is_empty() == detail.is_empty() {
                Ok(())
            } else {
                Err(redis.to_string())
            }
        });
    };
    let set = |settings: &[(&str, &str)]| {
        for (name, value) in settings {
            let _: String = servers.redis(&["CONFIG", "SET", name, value]);
        }
    };
    let flaw = |service: &Service, reason: &str| {
        service.metric(&format!("datastorage_redis_unsafe{{reason=\"{reason}\"}}"))
    };
    set(&[("appendfsync", "always")]);
    let service = Service::start_with(Arc::clone(&servers), "");
    detail(&service, &[]);
    assert_eq!(flaw(&service, "unsynced"), 0.0);
    drop(service);

    set(&[
        ("appendonly", "no"),
        ("maxmemory", "100mb"),
        ("maxmemory-policy", "allkeys-lru"),
    ]);
    let service = Service::start_with(Arc::clone(&servers), "");
    detail(&service, &["maxmemory-policy is allkeys-lru", "appendonly is no"]);
    assert_eq!(
        (flaw(&service, "evicting"), flaw(&service, "not_persistent")),
        (1.0, 1.0)
    );
    assert!(service.log().contains("Redis may lose acknowledged events"));
    drop(service);

    let _: String = servers.redis(&["ACL", "SETUSER", "default", "-config"]);
    let service = Service::start_with(Arc::clone(&servers), "");
    detail(&service, &["unchecked"]);
    assert_eq!(
        (flaw(&service, "evicting"), flaw(&service, "unchecked")),
        (0.0, 1.0)
    );
}
