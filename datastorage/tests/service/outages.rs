//! Faults: acknowledged events are stored once, completely, whatever broke meanwhile.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::stack::relay::Relay;
use crate::stack::{EVENTS, STREAM, Servers, Service, configured, event, id_of, name, until};

/// The consumer group of all replicas.
const GROUP: &str = "datastorage";

/// Sends this many events while PostgreSQL is unavailable: each is acknowledged and waits in the stream.
fn spill(service: &Service, correlation: &str, number: usize) -> Vec<Value> {
    let sent: Vec<Value> = (0..number).map(|_| event(correlation)).collect();
    for event in &sent {
        assert_eq!(service.write(event).status, 202);
    }
    sent
}

/// Checks the events of a correlation by position, which must be the order of sending.
fn in_order(service: &Service, correlation: &str, sent: &[Value]) -> Vec<Value> {
    let mut stored = service.events(correlation);
    stored.sort_by_key(|event| event["sequence"].as_i64());
    assert_eq!(
        stored.iter().map(id_of).collect::<Vec<_>>(),
        sent.iter().map(id_of).collect::<Vec<_>>(),
        "in the order of their arrival"
    );
    stored
}

/// Waits until a correlation has exactly these events, each once.
fn exactly(service: &Service, correlation: &str, wanted: &BTreeSet<String>) {
    until("every acknowledged event, once", 60, || {
        let events = service.get(&format!("{EVENTS}?correlation_id={correlation}&limit=1000"));
        if events.status != 200 {
            return Err(events.text);
        }
        let found: Vec<String> = events.json()["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(id_of)
            .collect();
        let missing = wanted.iter().filter(|id| !found.contains(id)).count();
        assert_eq!(
            found.iter().collect::<BTreeSet<_>>().len(),
            found.len(),
            "doubled"
        );
        if missing == 0 {
            Ok(())
        } else {
            Err(format!("{missing} of {} are missing", wanted.len()))
        }
    });
}

#[test]
fn schema_is_checked_when_the_database_answers_for_the_first_time() {
    let servers = Arc::new(Servers::own());
    let folder = configured(&servers, "");
    servers.postgres.stop().unwrap();
    let service = Service::serve(Arc::clone(&servers), folder);
    servers.postgres.restart().unwrap();
    until("the schema is reported", 60, || {
        let (_, state) = service.readyz();
        let schema = &state["dependencies"]["schema"];
        let detail = schema["detail"].as_str().unwrap_or_default();
        if schema["status"] == "down" && detail.contains("datastorage migrate") {
            Ok(())
        } else {
            Err(state.to_string())
        }
    });
    assert!(service.log().contains("the schema is not this program's"));
    assert!(service.run(&["migrate"], &[]).status.success());
    until("writes are stored", 60, || {
        match service.write(&event("migrated")).status {
            201 => Ok(()),
            status => Err(status.to_string()),
        }
    });
    until("the schema is current", 60, || {
        let (_, state) = service.readyz();
        if state["dependencies"]["schema"]["status"] == "ok" {
            Ok(())
        } else {
            Err(state.to_string())
        }
    });
}

#[test]
fn writes_during_an_outage_are_stored_completely_and_in_order_afterwards() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("outage");
    service.servers.postgres.stop().unwrap();
    let mut sent = Vec::new();
    for _ in 0..20 {
        let event = event(&correlation);
        let answer = service.write(&event);
        assert_eq!(
            (answer.status, answer.json()["event_id"].clone()),
            (202, event["event_id"].clone())
        );
        sent.push(event);
    }
    // A repeated event that already waits is one row in the end.
    assert_eq!(service.write(&sent[3]).status, 202);
    let batch: Vec<Value> = (0..5).map(|_| event(&correlation)).collect();
    assert_eq!(
        service.post("/api/v1/audit/events/batch", &json!(batch)).status,
        202
    );
    sent.extend(batch);
    let notification = json!({"notification_id": name("n"), "remediation_id": correlation, "recipient": "a",
        "channel": "email", "message_summary": "m", "status": "sent", "sent_at": jiff::Timestamp::now().to_string()});
    assert_eq!(
        service.post("/api/v1/audit/notifications", &notification).status,
        202
    );
    assert_eq!(service.servers.waiting(), 26);
    let (ready, state) = service.readyz();
    assert_eq!(
        (ready, &state["dependencies"]["postgresql"]["status"]),
        (200, &json!("down"))
    );

    service.servers.postgres.restart().unwrap();
    exactly(&service, &correlation, &sent.iter().map(id_of).collect());
    let stored = in_order(&service, &correlation, &sent);
    for (stored, sent) in stored.iter().zip(&sent) {
        for (field, value) in sent.as_object().unwrap() {
            assert!(
                field == "event_timestamp" || &stored[field] == value,
                "{field}: {} is not {value}",
                stored[field]
            );
        }
    }
    assert_eq!(service.verify(&correlation)["is_valid"], true);
    until("the notification", 30, || {
        match service.servers.count("SELECT count(*) FROM audit_notifications") {
            1 => Ok(()),
            count => Err(format!("{count} rows")),
        }
    });
    until("an empty stream", 30, || match service.servers.waiting() {
        0 => Ok(()),
        waiting => Err(format!("{waiting} entries")),
    });
    assert_eq!(
        service.metric(r#"datastorage_spill_drained_total{stream="events"}"#),
        26.0
    );
    assert_eq!(
        service.metric(r#"datastorage_dead_lettered_total{stream="events"}"#),
        0.0
    );
    assert_eq!(service.write(&event(&correlation)).status, 201);
}

#[test]
fn redis_is_reconnected_after_another_server_answered_at_its_address() {
    let servers = Arc::new(Servers::own());
    let relay = Relay::to(servers.redis.port());
    let service = Service::start_through(&[&relay], servers, "");
    let state = |wanted: &str| {
        until("readiness to report it", 30, || {
            let state = service.readyz().1["dependencies"]["redis"].clone();
            if state["status"] == wanted {
                Ok(())
            } else {
                Err(state.to_string())
            }
        });
    };
    // As when the address of a deleted pod was assigned to another.
    relay.stray("HTTP/1.1 400 Bad Request\r\n\r\n");
    state("down");
    relay.forward();
    state("ok");
    let correlation = name("found-again");
    service.servers.postgres.stop().unwrap();
    let sent = spill(&service, &correlation, 3);
    service.servers.postgres.restart().unwrap();
    exactly(&service, &correlation, &sent.iter().map(id_of).collect());
}

#[test]
fn every_write_is_stored_at_once_after_postgresql_is_available_again() {
    let servers = Arc::new(Servers::own());
    let relay = Relay::to(servers.postgres.port());
    let service = Service::start_through(
        &[&relay],
        servers,
        "[writer]\ncommitters = 8\n[memory]\nbudget_bytes = 536870912\n",
    );
    let writes = |wanted: u16| {
        for number in 0..32 {
            let answer = service.write(&event(&name(&format!("back-{number}"))));
            assert_eq!(answer.status, wanted, "{}\n{}", answer.text, service.log());
        }
    };
    let state = |wanted: &str| {
        until("readiness to report it", 60, || {
            let state = service.readyz().1["dependencies"]["postgresql"]["status"].clone();
            if state == wanted {
                Ok(())
            } else {
                Err(state.to_string())
            }
        });
    };
    writes(201);
    // As a network that drops packets: what is begun now never gets a response.
    relay.swallow();
    writes(202);
    state("down");
    relay.forward();
    state("ok");
    // Whichever committer found it, the others must not wait for their earlier attempts.
    writes(201);
}

#[test]
fn stop_during_an_outage_loses_nothing() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("stopped");
    service.servers.postgres.stop().unwrap();
    let sent = spill(&service, &correlation, 30);
    let (status, servers, log) = service.stop();
    assert!(status.success(), "{status}\n{log}");
    assert_eq!(servers.waiting(), 30, "a stop leaves the stream to others");
    servers.postgres.restart().unwrap();
    let service = Service::start_with(servers, "");
    exactly(&service, &correlation, &sent.iter().map(id_of).collect());
}

#[test]
fn entries_read_by_a_dead_replica_are_stored_by_another() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("read");
    service.servers.postgres.stop().unwrap();
    let sent = spill(&service, &correlation, 10);
    let servers = Arc::clone(&service.servers);
    // A replica reads half of them, and dies before it stores any.
    let _: redis::Value = servers.redis(&["XGROUP", "CREATE", STREAM, GROUP, "0"]);
    let _: redis::Value = servers.redis(&[
        "XREADGROUP",
        "GROUP",
        GROUP,
        "dead",
        "COUNT",
        "5",
        "STREAMS",
        STREAM,
        ">",
    ]);
    servers.postgres.restart().unwrap();
    exactly(&service, &correlation, &sent.iter().map(id_of).collect());
    in_order(&service, &correlation, &sent);
}

#[test]
fn full_stream_rejects_and_trims_nothing() {
    let service = Service::start_with(Arc::new(Servers::own()), "[stream]\nmax_entries = 20\n");
    let correlation = name("full");
    service.servers.postgres.stop().unwrap();
    let mut acknowledged = BTreeSet::new();
    for _ in 0..30 {
        let event = event(&correlation);
        let answer = service.write(&event);
        match answer.status {
            202 => drop(acknowledged.insert(id_of(&event))),
            status => assert_eq!(
                (status, answer.retry_after.is_some()),
                (503, true),
                "{}",
                answer.text
            ),
        }
    }
    assert_eq!(acknowledged.len(), 20);
    // A batch that does not fit is rejected completely.
    assert_eq!(
        service
            .post("/api/v1/audit/events/batch", &json!([event(&correlation)]))
            .status,
        503
    );
    service.servers.postgres.restart().unwrap();
    exactly(&service, &correlation, &acknowledged);
    assert_eq!(
        service.events(&correlation).len(),
        20,
        "rejected events are not stored"
    );
}

#[test]
fn nothing_is_acknowledged_without_both_stores() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("both");
    service.servers.postgres.stop().unwrap();
    service.servers.redis.stop().unwrap();
    let answer = service.write(&event(&correlation));
    assert_eq!(
        (answer.status, answer.retry_after.is_some()),
        (503, true),
        "{}",
        answer.text
    );
    let notification = json!({"notification_id": name("n"), "remediation_id": "r", "recipient": "a", "channel": "email",
        "message_summary": "m", "status": "sent", "sent_at": jiff::Timestamp::now().to_string()});
    assert_eq!(
        service.post("/api/v1/audit/notifications", &notification).status,
        503
    );
    assert_eq!(service.get(EVENTS).status, 503);
    until("not ready", 60, || match service.readyz().0 {
        503 => Ok(()),
        status => Err(status.to_string()),
    });
    service.servers.redis.restart().unwrap();
    service.servers.postgres.restart().unwrap();
    until("writes are accepted again", 30, || {
        match service.write(&event(&correlation)).status {
            201 => Ok(()),
            status => Err(status.to_string()),
        }
    });
}

#[test]
fn redis_killed_with_entries_loses_none() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("redis");
    service.servers.postgres.stop().unwrap();
    let sent = spill(&service, &correlation, 10);
    service.servers.redis.kill().unwrap();
    assert_eq!(service.write(&event(&correlation)).status, 503);
    service.servers.redis.restart().unwrap();
    service.servers.postgres.restart().unwrap();
    exactly(&service, &correlation, &sent.iter().map(id_of).collect());
}

#[test]
fn event_repeated_after_hanging_up_is_stored_once() {
    let service = Service::start();
    let correlation = name("hung-up");
    let sent: Vec<Value> = (0..20).map(|_| event(&correlation)).collect();
    for event in &sent {
        let body = event.to_string();
        let mut stream = TcpStream::connect(service.address()).unwrap();
        write!(
            stream,
            "POST {EVENTS} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        // Gone before the response.
    }
    // Whether the service read a request before the connection closed is a race; a repeat stores each event once.
    for event in &sent {
        assert_eq!(service.write(event).status, 201);
    }
    exactly(&service, &correlation, &sent.iter().map(id_of).collect());
    assert_eq!(service.events(&correlation).len(), sent.len());
    assert_eq!(
        service.metric(r#"datastorage_spill_added_total{stream="events"}"#),
        0.0
    );
    assert_eq!(service.readyz().1["dependencies"]["postgresql"]["status"], "ok");
    assert_eq!(service.verify(&correlation)["is_valid"], true);
}
