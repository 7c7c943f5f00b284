//! Speed of verification, exports, proofs and checkpoints.
//!
//! `cargo test --release --package datastorage --test service -- --ignored --nocapture speed`; `DATASTORAGE_EVENTS` sets
//! another number of events.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::log::{checkpoint_of, key_of, signing, signing_every};
use crate::stack::{Archive, Servers, Service, event, id_of, name, text};

/// Unless `DATASTORAGE_EVENTS` sets another number.
const EVENTS: usize = 200_000;
const BATCH: usize = 1_000;
/// Events of one chain.
const CHAIN: usize = 10;
const PROOFS: usize = 200;

fn rate(what: &str, events: usize, took: Duration) {
    let rate = events as f64 / took.as_secs_f64();
    println!("{what}: {:.2} s, {rate:.0} events/s", took.as_secs_f64());
}

#[test]
#[ignore = "a measurement, of release builds only"]
fn speed_of_verification_exports_and_proofs() {
    let (service, checkpoint, folder) = signing();
    let number = std::env::var("DATASTORAGE_EVENTS").map_or(EVENTS, |number| number.parse().unwrap());
    let begin = Instant::now();
    let ids: Vec<String> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut first = String::new();
                    for _ in 0..number / BATCH / 4 {
                        let chains: Vec<String> = (0..BATCH / CHAIN).map(|_| name("speed")).collect();
                        let events: Vec<_> = (0..BATCH).map(|index| event(&chains[index / CHAIN])).collect();
                        assert_eq!(
                            service.post("/api/v1/audit/events/batch", &json!(events)).status,
                            201
                        );
                        first = id_of(&events[0]);
                    }
                    first
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    rate(
        "written in batches of 1,000 by 4 connections",
        number,
        begin.elapsed(),
    );
    checkpoint_of(&service, &key_of(&service), number as u64);
    service.servers.sql("VACUUM ANALYZE");
    for workers in ["1", "2"] {
        let begin = Instant::now();
        let arguments = ["--checkpoint", checkpoint.to_str().unwrap(), "--workers", workers];
        let output = service.run(&["verify"], &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        rate(
            &format!("verified on {workers} connections"),
            number,
            begin.elapsed(),
        );
    }
    let begin = Instant::now();
    let export = service.get("/api/v1/audit/export").text;
    rate("exported", number, begin.elapsed());
    let file = folder.path().join("export.ndjson");
    fs::write(&file, &export).unwrap();
    let begin = Instant::now();
    let output = service.run(&["verify-export"], &[file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    rate("export verified", number, begin.elapsed());
    let mut proofs: Vec<(Duration, usize)> = (0..PROOFS)
        .map(|index| {
            let begin = Instant::now();
            let id = &ids[index % ids.len()];
            let proof = service.get(&format!("/api/v1/audit/log/proof/inclusion?event_id={id}"));
            assert_eq!(proof.status, 200);
            (begin.elapsed(), proof.text.len())
        })
        .collect();
    proofs.sort();
    println!(
        "inclusion proof: p50 {:?}, p99 {:?}, {} bytes",
        proofs[PROOFS / 2].0,
        proofs[PROOFS * 99 / 100].0,
        proofs[0].1
    );
}

/// Events of one writer, one after another.
const SINGLE: usize = 1_000;

#[test]
#[ignore = "a measurement, of release builds only"]
fn speed_of_checkpoints_with_four_replicas() {
    let archive = Archive::start();
    // The default interval, after that of the tests.
    let config = format!("targets = [{{ url = {:?} }}]\n", archive.url());
    let (first, _, _folder) = signing_every(1000, Arc::new(Servers::shared()), &config);
    let others: Vec<Service> = (0..3).map(|_| first.replica()).collect();
    let mut written: Vec<(String, SystemTime)> = thread::scope(|scope| {
        let writers: Vec<_> = [&first]
            .into_iter()
            .chain(&others)
            .map(|replica| {
                scope.spawn(move || {
                    let correlation = name("speed");
                    let write = |_| {
                        let event = event(&correlation);
                        assert_eq!(replica.write(&event).status, 201);
                        (id_of(&event), SystemTime::now())
                    };
                    (0..SINGLE).map(write).collect::<Vec<_>>()
                })
            })
            .collect();
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect()
    });
    checkpoint_of(&first, &key_of(&first), written.len() as u64);
    let places: HashMap<String, u64> = first
        .servers
        .sql("SELECT event_id, leaf_index FROM audit_events JOIN audit_log_leaves USING (correlation_id, sequence)")
        .into_iter()
        .map(|row| (row[0].clone().unwrap(), row[1].as_ref().unwrap().parse().unwrap()))
        .collect();
    let published = archive.sizes();
    let mut delays: Vec<Duration> = written
        .drain(..)
        .map(|(id, answered)| {
            let (_, at) = published.iter().find(|(size, _)| *size > places[&id]).unwrap();
            at.duration_since(answered).unwrap_or_default()
        })
        .collect();
    delays.sort();
    println!(
        "response to checkpoint at a target, {} events by 4 replicas: p50 {:?}, p99 {:?}, max {:?}",
        delays.len(),
        delays[delays.len() / 2],
        delays[delays.len() * 99 / 100],
        delays[delays.len() - 1]
    );
}
