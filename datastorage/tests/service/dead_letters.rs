//! Events that the database rejects: each fails alone, and one in the stream is dead-lettered.

use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};

use crate::stack::{STREAM, Servers, Service, event, name, text, until};

/// A service whose database rejects the events of [`rejected_by_database`]: a rule that only the database has, as a later
/// version of the schema might.
fn with_rejecting_constraint() -> Service {
    let service = Service::start_with(Arc::new(Servers::shared()), "[stream]\ndrain_interval_ms = 50\n");
    service
        .servers
        .sql("ALTER TABLE audit_events ADD CONSTRAINT rejected_severity CHECK (severity <> 'unstorable')");
    service
}

fn rejected_by_database(correlation: &str) -> Value {
    let mut event = event(correlation);
    event["severity"] = json!("unstorable");
    event
}

/// Puts an entry into the stream, as a service does while PostgreSQL is unavailable.
fn wait_in_stream(service: &Service, fields: &[&str]) {
    let _: String = service.servers.redis(&[&["XADD", STREAM, "*"], fields].concat());
}

fn until_stored(service: &Service, correlation: &str, number: usize) {
    until("the storable events", 30, || {
        match service.events(correlation).len() {
            count if count == number => Ok(()),
            count => Err(format!("{count} events")),
        }
    });
}

/// The output of `dlq list`.
fn letters(service: &Service) -> Vec<Value> {
    let listed = service.run(&["dlq", "list"], &[]);
    assert!(listed.status.success(), "{}", text(&listed));
    String::from_utf8_lossy(&listed.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn unstorable_event_fails_alone_in_its_group() {
    let service = Arc::new(with_rejecting_constraint());
    let correlation = name("unstorable");
    let writers: Vec<_> = (0..30)
        .map(|number| {
            let (service, correlation) = (Arc::clone(&service), correlation.clone());
            thread::spawn(move || match number % 10 {
                0 => (400, service.write(&rejected_by_database(&correlation)).status),
                _ => (201, service.write(&event(&correlation)).status),
            })
        })
        .collect();
    for writer in writers {
        let (wanted, status) = writer.join().unwrap();
        assert_eq!(status, wanted);
    }
    assert_eq!(service.events(&correlation).len(), 27);
}

#[test]
fn unstorable_entry_is_dead_lettered_and_can_be_retried() {
    let service = with_rejecting_constraint();
    let correlation = name("letter");
    wait_in_stream(
        &service,
        &["body", &rejected_by_database(&correlation).to_string()],
    );
    wait_in_stream(&service, &["body", &event(&correlation).to_string()]);
    wait_in_stream(&service, &["event", "no JSON", "more", "of it"]);
    until_stored(&service, &correlation, 1);
    until("two dead letters", 30, || {
        match service.metric(r#"datastorage_dead_lettered_total{stream="events"}"#) {
            2.0 => Ok(()),
            count => Err(format!("{count}")),
        }
    });
    assert_eq!(service.servers.waiting(), 0);

    let letters = letters(&service);
    assert_eq!(letters.len(), 2, "{letters:?}");
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
    let letter = of("unstorable");
    assert!(
        letter["reason"].as_str().unwrap().contains("rejected_severity"),
        "{letter}"
    );
    assert_eq!(letter["attempts"], 5);

    service
        .servers
        .sql("ALTER TABLE audit_events DROP CONSTRAINT rejected_severity");
    let id = letter["id"].as_str().unwrap();
    let retried = service.run(&["dlq", "retry"], &[id]);
    assert!(retried.status.success(), "{}", text(&retried));
    until_stored(&service, &correlation, 2);
}

#[test]
fn dead_letters_are_dropped_only_by_id_or_all_at_once() {
    let service = with_rejecting_constraint();
    wait_in_stream(&service, &["event", "no JSON"]);
    until("a dead letter", 30, || match letters(&service).len() {
        1 => Ok(()),
        count => Err(format!("{count} letters")),
    });
    assert_eq!(
        service.run(&["dlq", "drop"], &[]).status.code(),
        Some(2),
        "drop needs ids or --all"
    );
    assert_eq!(letters(&service).len(), 1);
    assert!(service.run(&["dlq", "drop"], &["--all"]).status.success());
    assert_eq!(letters(&service), [] as [Value; 0]);
}
