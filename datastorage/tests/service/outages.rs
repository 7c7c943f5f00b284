//! Faults: what was acknowledged is stored once, whole, whatever broke meanwhile.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::stack::{EVENTS, Servers, Service, event, name, text, until};

const STREAM: &str = "audit:dlq:events";
const GROUP: &str = "datastorage";

/// Waits until a correlation has exactly these events, each once.
fn exactly(service: &Service, correlation: &str, wanted: &BTreeSet<String>) {
    until("every acknowledged event, once", 60, || {
        let events = service.get(&format!("{EVENTS}?correlation_id={correlation}&limit=1000"));
        if events.status != 200 {
            return Err(events.text);
        }
        let found: Vec<String> = ids(&events.json()["data"]);
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

fn ids(events: &Value) -> Vec<String> {
    events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect()
}

fn id_of(event: &Value) -> String {
    event["event_id"].as_str().unwrap().to_owned()
}

#[test]
fn what_comes_while_postgresql_is_away_is_stored_whole_and_in_order_when_it_is_back() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("away");
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
    // A retry of what waits already is one row in the end.
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

    service.servers.postgres.start_again().unwrap();
    exactly(&service, &correlation, &sent.iter().map(id_of).collect());
    let mut stored = service.events(&correlation);
    stored.sort_by_key(|event| event["sequence"].as_i64());
    assert_eq!(
        ids(&json!(stored)),
        sent.iter().map(id_of).collect::<Vec<_>>(),
        "in the order of their arrival"
    );
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
        service.metric(r#"datastorage_dlq_drained_total{stream="events"}"#),
        26.0
    );
    assert_eq!(
        service.metric(r#"datastorage_dlq_dead_total{stream="events"}"#),
        0.0
    );
    assert_eq!(service.write(&event(&correlation)).status, 201);
}

#[test]
fn a_stop_while_postgresql_is_away_loses_nothing() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("stopped");
    service.servers.postgres.stop().unwrap();
    let sent: Vec<Value> = (0..30).map(|_| event(&correlation)).collect();
    for event in &sent {
        assert_eq!(service.write(event).status, 202);
    }
    let (status, servers, log) = service.stop();
    assert!(status.success(), "{status}\n{log}");
    assert_eq!(servers.waiting(), 30, "a stop leaves the stream to others");
    servers.postgres.start_again().unwrap();
    let service = Service::start_with(servers, "");
    exactly(&service, &correlation, &sent.iter().map(id_of).collect());
}

#[test]
fn entries_that_a_dead_replica_had_read_are_stored_by_another() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("read");
    service.servers.postgres.stop().unwrap();
    let sent: Vec<Value> = (0..10).map(|_| event(&correlation)).collect();
    for event in &sent {
        assert_eq!(service.write(event).status, 202);
    }
    let servers = Arc::clone(&service.servers);
    // A replica reads half of them, and dies before it stored any.
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
    servers.postgres.start_again().unwrap();
    exactly(&service, &correlation, &sent.iter().map(id_of).collect());
    let mut stored = service.events(&correlation);
    stored.sort_by_key(|event| event["sequence"].as_i64());
    assert_eq!(
        ids(&json!(stored)),
        sent.iter().map(id_of).collect::<Vec<_>>(),
        "the order of their arrival"
    );
}

#[test]
fn a_full_stream_refuses_and_trims_nothing() {
    let service = Service::start_with(Arc::new(Servers::own()), "[stream]\nmost_entries = 20\n");
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
    // A batch that does not fit goes in not at all.
    assert_eq!(
        service
            .post("/api/v1/audit/events/batch", &json!([event(&correlation)]))
            .status,
        503
    );
    service.servers.postgres.start_again().unwrap();
    exactly(&service, &correlation, &acknowledged);
    assert_eq!(
        service.events(&correlation).len(),
        20,
        "what was refused was not stored"
    );
}

#[test]
fn with_both_stores_away_nothing_is_acknowledged() {
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
    until("not ready", 10, || match service.readyz().0 {
        503 => Ok(()),
        status => Err(status.to_string()),
    });
    service.servers.redis.start_again().unwrap();
    service.servers.postgres.start_again().unwrap();
    until("writes are taken again", 30, || {
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
    let sent: Vec<Value> = (0..10).map(|_| event(&correlation)).collect();
    for event in &sent {
        assert_eq!(service.write(event).status, 202);
    }
    service.servers.redis.kill().unwrap();
    assert_eq!(service.write(&event(&correlation)).status, 503);
    service.servers.redis.start_again().unwrap();
    service.servers.postgres.start_again().unwrap();
    exactly(&service, &correlation, &sent.iter().map(id_of).collect());
}

/// Writers that go on through whatever happens, and what was acknowledged to them.
struct Load {
    running: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    writers: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn start(address: Arc<Mutex<Service>>, correlation: &str, writers: usize) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let writers = (0..writers)
            .map(|_| {
                let (running, acknowledged) = (Arc::clone(&running), Arc::clone(&acknowledged));
                let (address, correlation) = (Arc::clone(&address), correlation.to_owned());
                thread::spawn(move || {
                    let agent: ureq::Agent = ureq::Agent::config_builder()
                        .http_status_as_error(false)
                        .build()
                        .into();
                    while running.load(Ordering::Relaxed) {
                        let url = format!("http://{}{EVENTS}", address.lock().unwrap().address());
                        let event = event(&correlation);
                        let answer = agent
                            .post(&url)
                            .header("content-type", "application/json")
                            .send(event.to_string());
                        if answer.is_ok_and(|answer| matches!(answer.status().as_u16(), 201 | 202)) {
                            acknowledged.lock().unwrap().insert(id_of(&event));
                        }
                    }
                })
            })
            .collect();
        Self {
            running,
            acknowledged,
            writers,
        }
    }

    fn wait_for_more(&self, more: usize) {
        let before = self.acknowledged.lock().unwrap().len();
        until("more acknowledged writes", 60, || {
            let now = self.acknowledged.lock().unwrap().len();
            if now >= before + more {
                Ok(())
            } else {
                Err(format!("{} more", now - before))
            }
        });
    }

    fn end(self) -> BTreeSet<String> {
        self.running.store(false, Ordering::Relaxed);
        for writer in self.writers {
            writer.join().unwrap();
        }
        Arc::into_inner(self.acknowledged).unwrap().into_inner().unwrap()
    }
}

/// Every id that was acknowledged is stored, and no id twice.
fn stored_once(servers: &Servers, correlation: &str, acknowledged: &BTreeSet<String>) {
    until("every acknowledged event", 60, || {
        let rows = servers.sql(&format!(
            "SELECT event_id::text FROM audit_events WHERE correlation_id = '{correlation}'"
        ));
        let found: Vec<String> = rows.into_iter().flatten().flatten().collect();
        let set: BTreeSet<String> = found.iter().cloned().collect();
        assert_eq!(set.len(), found.len(), "doubled");
        match acknowledged.difference(&set).count() {
            0 => Ok(()),
            missing => Err(format!("{missing} of {} are missing", acknowledged.len())),
        }
    });
}

#[test]
fn killed_without_a_word_under_load_it_has_kept_what_it_acknowledged() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("killed");
    let servers = Arc::clone(&service.servers);
    let service = Arc::new(Mutex::new(service));
    let load = Load::start(Arc::clone(&service), &correlation, 8);
    load.wait_for_more(200);
    {
        let mut held = service.lock().unwrap();
        held.kill();
        let again = held.replica();
        *held = again;
    }
    load.wait_for_more(50);
    let acknowledged = load.end();
    stored_once(&servers, &correlation, &acknowledged);
    assert_eq!(service.lock().unwrap().verify(&correlation)["is_valid"], true);
}

#[test]
fn postgresql_killed_under_load_costs_no_acknowledged_event() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("crash");
    let servers = Arc::clone(&service.servers);
    let service = Arc::new(Mutex::new(service));
    let load = Load::start(Arc::clone(&service), &correlation, 8);
    load.wait_for_more(100);
    servers.postgres.kill().unwrap();
    load.wait_for_more(50);
    servers.postgres.start_again().unwrap();
    load.wait_for_more(100);
    let acknowledged = load.end();
    stored_once(&servers, &correlation, &acknowledged);
    assert_eq!(service.lock().unwrap().verify(&correlation)["is_valid"], true);
    assert_eq!(
        service
            .lock()
            .unwrap()
            .metric(r#"datastorage_dlq_dead_total{stream="events"}"#),
        0.0
    );
}

#[test]
fn a_client_that_hangs_up_changes_nothing_and_is_no_failure_of_the_database() {
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
        // Gone before the answer.
    }
    until("the events of those who hung up, or some of them", 10, || {
        let found = service.events(&correlation).len();
        if found > 0 { Ok(()) } else { Err("none".to_owned()) }
    });
    assert_eq!(service.write(&event(&correlation)).status, 201);
    assert_eq!(
        service.metric(r#"datastorage_dlq_spilled_total{stream="events"}"#),
        0.0
    );
    assert_eq!(service.readyz().1["dependencies"]["postgresql"]["status"], "ok");
    assert_eq!(service.verify(&correlation)["is_valid"], true);
}

#[test]
fn a_poisoned_event_fails_alone_and_one_in_the_stream_becomes_a_dead_letter_that_can_be_tried_again() {
    let service = Service::start_with(Arc::new(Servers::shared()), "[stream]\ndrain_interval_ms = 50\n");
    let correlation = name("poison");
    // A rule that only the database has, as a later version of the schema might.
    service
        .servers
        .sql("ALTER TABLE audit_events ADD CONSTRAINT no_poison CHECK (severity <> 'poison')");
    let service = Arc::new(service);
    let writers: Vec<_> = (0..30)
        .map(|number| {
            let (service, correlation) = (Arc::clone(&service), correlation.clone());
            thread::spawn(move || {
                let mut event = event(&correlation);
                if number % 10 == 0 {
                    event["severity"] = json!("poison");
                }
                (number % 10 == 0, service.write(&event).status)
            })
        })
        .collect();
    for writer in writers {
        let (poisoned, status) = writer.join().unwrap();
        assert_eq!(status, if poisoned { 400 } else { 201 });
    }
    assert_eq!(service.events(&correlation).len(), 27);

    let add = |event: &Value| -> String {
        service
            .servers
            .redis(&["XADD", STREAM, "*", "body", &event.to_string()])
    };
    let mut poison = event(&correlation);
    poison["severity"] = json!("poison");
    let good = event(&correlation);
    add(&poison);
    add(&good);
    let _: String = service
        .servers
        .redis(&["XADD", STREAM, "*", "event", "no JSON", "more", "of it"]);
    until("the good entry", 30, || {
        match service.events(&correlation).len() {
            28 => Ok(()),
            count => Err(format!("{count} events")),
        }
    });
    until("two dead letters", 30, || {
        match service.metric(r#"datastorage_dlq_dead_total{stream="events"}"#) {
            2.0 => Ok(()),
            count => Err(format!("{count}")),
        }
    });
    assert_eq!(service.servers.waiting(), 0);
    let listed = service.run(&["dlq", "list"], &[]);
    let letters: Vec<Value> = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(letters.len(), 2, "{}", text(&listed));
    let of = |part: &str| {
        letters
            .iter()
            .find(|letter| letter["body"].as_str().unwrap().contains(part))
            .unwrap()
    };
    assert!(
        of("no JSON")["body"].as_str().unwrap().contains("of it"),
        "nothing of an entry is lost"
    );
    let letter = of("poison");
    assert!(
        letter["reason"].as_str().unwrap().contains("no_poison"),
        "{letter}"
    );
    assert_eq!(letter["tries"], 5);

    service
        .servers
        .sql("ALTER TABLE audit_events DROP CONSTRAINT no_poison");
    let id = letter["id"].as_str().unwrap();
    let retried = service.run(&["dlq", "retry"], &[id]);
    assert!(retried.status.success(), "{}", text(&retried));
    until("the entry that was tried again", 30, || {
        match service.events(&correlation).len() {
            29 => Ok(()),
            count => Err(format!("{count} events")),
        }
    });
    assert_eq!(
        service.run(&["dlq", "drop"], &[]).status.code(),
        Some(2),
        "drop needs ids or --all"
    );
    assert!(service.run(&["dlq", "drop"], &["--all"]).status.success());
    assert_eq!(service.run(&["dlq", "list"], &[]).stdout, b"");
}
