//! Speed of verification, exports and proofs.
//!
//! `cargo test --release --package datastorage --test service -- --ignored --nocapture speed`

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::log::{checkpoint_of, key_of, signing};
use crate::stack::{event, id_of, name, text};

const EVENTS: usize = 200_000;
const BATCH: usize = 1_000;
/// Events of one chain.
const CHAIN: usize = 10;
const PROOFS: usize = 200;

fn rate(what: &str, took: Duration) {
    let rate = EVENTS as f64 / took.as_secs_f64();
    println!("{what}: {:.2} s, {rate:.0} events/s", took.as_secs_f64());
}

#[test]
#[ignore = "a measurement, of release builds only"]
fn speed_of_verification_exports_and_proofs() {
    let (service, checkpoint, folder) = signing();
    let begin = Instant::now();
    let ids: Vec<String> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut first = String::new();
                    for _ in 0..EVENTS / BATCH / 4 {
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
    rate("written in batches of 1,000 by 4 connections", begin.elapsed());
    checkpoint_of(&service, &key_of(&service), EVENTS as u64);
    service.servers.sql("VACUUM ANALYZE");
    for workers in ["1", "2"] {
        let begin = Instant::now();
        let arguments = ["--checkpoint", checkpoint.to_str().unwrap(), "--workers", workers];
        let output = service.run(&["verify"], &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        rate(&format!("verified on {workers} connections"), begin.elapsed());
    }
    let begin = Instant::now();
    let export = service.get("/api/v1/audit/export").text;
    rate("exported", begin.elapsed());
    let file = folder.path().join("export.ndjson");
    fs::write(&file, &export).unwrap();
    let begin = Instant::now();
    let output = service.run(&["verify-export"], &[file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    rate("export verified", begin.elapsed());
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
