//! A service and a PostgreSQL that are killed under load: every acknowledged event is stored once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::stack::{EVENTS, Servers, Service, event, id_of, name, until};

/// Writers that continue through any fault, and their acknowledged events.
struct Load {
    running: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    writers: Vec<thread::JoinHandle<()>>,
}

impl Load {
    /// Writes to the current service in `service`, with this many writers.
    fn start(service: &Arc<Mutex<Service>>, correlation: &str, writers: usize) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let writers = (0..writers)
            .map(|_| {
                let (running, acknowledged) = (Arc::clone(&running), Arc::clone(&acknowledged));
                let (service, correlation) = (Arc::clone(service), correlation.to_owned());
                thread::spawn(move || write(&service, &correlation, &running, &acknowledged))
            })
            .collect();
        Self {
            running,
            acknowledged,
            writers,
        }
    }

    /// Waits until this many more writes were acknowledged.
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

    /// Stops the writers; returns the acknowledged ids.
    fn end(self) -> BTreeSet<String> {
        self.running.store(false, Ordering::Relaxed);
        for writer in self.writers {
            writer.join().unwrap();
        }
        Arc::into_inner(self.acknowledged).unwrap().into_inner().unwrap()
    }
}

/// Writes one event after another until `running` is false, and records the acknowledged ones.
fn write(
    service: &Mutex<Service>,
    correlation: &str,
    running: &AtomicBool,
    acknowledged: &Mutex<BTreeSet<String>>,
) {
    // Not the service's own agent, which would hold its lock while it waits for a response.
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    while running.load(Ordering::Relaxed) {
        let url = format!("http://{}{EVENTS}", service.lock().unwrap().address());
        let event = event(correlation);
        let answer = agent
            .post(&url)
            .header("content-type", "application/json")
            .send(event.to_string());
        if answer.is_ok_and(|answer| matches!(answer.status().as_u16(), 201 | 202)) {
            acknowledged.lock().unwrap().insert(id_of(&event));
        }
    }
}

/// Checks that every acknowledged id is stored, and no id twice.
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
fn service_killed_under_load_keeps_every_acknowledged_event() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("killed");
    let servers = Arc::clone(&service.servers);
    let service = Arc::new(Mutex::new(service));
    let load = Load::start(&service, &correlation, 8);
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
    let load = Load::start(&service, &correlation, 8);
    load.wait_for_more(100);
    servers.postgres.kill().unwrap();
    load.wait_for_more(50);
    servers.postgres.restart().unwrap();
    load.wait_for_more(100);
    let acknowledged = load.end();
    stored_once(&servers, &correlation, &acknowledged);
    assert_eq!(service.lock().unwrap().verify(&correlation)["is_valid"], true);
    assert_eq!(
        service
            .lock()
            .unwrap()
            .metric(r#"datastorage_dead_lettered_total{stream="events"}"#),
        0.0
    );
}
