//! Numbers of event data: exact from the request to the row, the response and the export; and the older hash format.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::stack::{EVENTS, Servers, Service, event, id_of, name, text, until};

const BATCH: &str = "/api/v1/audit/events/batch";

/// Numbers that a double, or its shortest text, gets wrong.
const SPECIAL: [&str; 14] = [
    "0",
    "-0.0",
    "1.50",
    "1E+2",
    "0.30000000000000004",
    "5e-324",
    "2.2250738585072014e-308",
    "1.7976931348623157e308",
    "1e300",
    "1e1000",
    "18446744073709551616",
    "-123456789012345678901234567890",
    "3.14159265358979323846264338327950288419716939937510582097494459",
    "0.1000000000000000055511151231257827021181583404541015625",
];

/// Random doubles of all magnitudes, decimals with too many digits, and large integers.
fn numbers() -> Vec<String> {
    let random = (0..300).map(|turn| {
        let bits = Uuid::new_v4().as_u64_pair().0;
        let float = f64::from_bits(bits);
        match turn % 4 {
            0 if float.is_finite() => format!("{float:e}"),
            1 => format!("{}", (bits >> 11) as f64 / (1_u64 << 53) as f64),
            2 => format!("{}.{}", bits % 100_000, Uuid::new_v4().as_u128()),
            _ => Uuid::new_v4().as_u128().to_string(),
        }
    });
    SPECIAL.map(str::to_owned).into_iter().chain(random).collect()
}

/// The JSON of an event with this number, which serde_json's `Value` would round.
fn with_number(correlation: &str, number: &str) -> (String, String) {
    let mut event = event(correlation);
    event["event_data"] = json!({"list": ["NUMBER"]});
    (id_of(&event), event.to_string().replace("\"NUMBER\"", number))
}

#[test]
fn any_number_is_exact_and_verifies_through_either_store() {
    let service = Service::start_with(Arc::new(Servers::own()), "");
    let correlation = name("numbers");
    let numbers = numbers();
    let (ids, events): (Vec<String>, Vec<String>) = numbers
        .iter()
        .map(|number| with_number(&correlation, number))
        .unzip();
    let batches: Vec<String> = events
        .chunks(events.len().div_ceil(2))
        .map(|events| format!("[{}]", events.join(",")))
        .collect();
    let send = |batch: &str| service.send_text("POST", BATCH, Some(batch), &[]).status;
    assert_eq!(send(&batches[0]), 201);
    service.servers.postgres.stop().unwrap();
    assert_eq!(send(&batches[1]), 202);
    service.servers.postgres.restart().unwrap();
    until("the stream is empty", 60, || match service.servers.waiting() {
        0 => Ok(()),
        waiting => Err(format!("{waiting} entries wait")),
    });
    // A repeat stores nothing and conflicts with nothing.
    assert_eq!([send(&batches[0]), send(&batches[1])], [201, 201]);
    let verification = service.verify(&correlation);
    assert_eq!(verification["tampered_events"], json!([]));
    assert_eq!(verification["verified_events"], numbers.len());
    // PostgreSQL compares exact decimals.
    let sent: Vec<String> = ids
        .iter()
        .zip(&numbers)
        .map(|(id, number)| format!("('{id}'::uuid, '{number}'::jsonb)"))
        .collect();
    let differing = format!(
        "FROM (VALUES {}) AS sent(id, number) LEFT JOIN audit_events ON event_id = id
         WHERE event_data->'list'->0 IS DISTINCT FROM number",
        sent.join(",")
    );
    assert_eq!(
        service.servers.sql(&format!("SELECT number::text {differing}")),
        Vec::<Vec<Option<String>>>::new()
    );
    let export = service.get(&format!("/api/v1/audit/export?correlation_id={correlation}"));
    // Readers parse integers and floating-point numbers to different types.
    let is_float = |number: &str| number.contains(['.', 'e', 'E']);
    for (id, number) in ids.iter().zip(&numbers) {
        let line = export.text.lines().find(|line| line.contains(id)).unwrap();
        let exported = line
            .split_once("\"list\":[")
            .unwrap()
            .1
            .split_once(']')
            .unwrap()
            .0;
        assert_eq!(is_float(exported), is_float(number), "{number} as {exported}");
    }
    let file = service.folder.path().join("export.ndjson");
    fs::write(&file, &export.text).unwrap();
    let verified = service.run(&["verify-export"], &[file.to_str().unwrap()]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
}

#[test]
fn numbers_and_keys_that_cannot_be_stored_are_rejected() {
    let service = Service::start();
    let (_, event) = with_number(&name("rejected"), "NUMBER");
    for (number, message) in [
        ("1e131072", "too many digits"),
        ("1e-16384", "too many digits"),
        (r#"{"a": 1, "\u0061": 2}"#, "\"a\" twice"),
        ("\"\\ud800\"", "not Unicode text"),
    ] {
        let body = event.replace("NUMBER", number);
        let answer = service.send_text("POST", EVENTS, Some(&body), &[]);
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.fields(), ["event_data"]);
        assert!(
            answer.text.contains(&message.replace('"', "\\\"")),
            "{}",
            answer.text
        );
    }
    let twice = event.replacen("\"version\"", "\"severity\":\"low\",\"version\"", 1);
    let answer = service.send_text("POST", EVENTS, Some(&twice.replace("NUMBER", "1")), &[]);
    assert_eq!(
        (answer.status, answer.fields()),
        (400, vec!["severity".to_owned()])
    );
}

/// The hash of a chain's event in format 1, written from its description: over the previous hash, position and time in 8
/// bytes each, and the SHA-256 of the canonical content.
fn link_of_format_1(previous: &[u8], sequence: i64, micros: i64, content: &str) -> Vec<u8> {
    let mut message = previous.to_vec();
    message.extend(sequence.to_be_bytes());
    message.extend(micros.to_be_bytes());
    message.extend(Sha256::digest(content));
    Sha256::digest(message).to_vec()
}

#[test]
fn chains_stored_in_format_1_verify_and_go_on() {
    let service = Service::start();
    let correlation = name("older");
    let mut previous = vec![0; 32];
    let micros = 1_795_000_000_000_000_i64;
    // As its writer wrote them: doubles with a decimal point and without an exponent.
    let numbers = ["100.0", "0.0000001", "100000000000000000000000.0", "7", "0.1"];
    for (number, sequence) in numbers.iter().zip(1..) {
        let id = Uuid::now_v7();
        let data = format!("{{\"v\":{number}}}");
        let content = format!(
            "{{\"correlation_id\":\"{correlation}\",\"event_action\":\"a\",\"event_category\":\"gateway\",\
             \"event_data\":{data},\"event_id\":\"{id}\",\"event_outcome\":\"success\",\
             \"event_timestamp\":\"2026-11-18T11:06:40.000000Z\",\"event_type\":\"t\",\"version\":\"1.0\"}}"
        );
        let hash = link_of_format_1(&previous, sequence, micros, &content);
        service.servers.sql(&format!(
            "SELECT audit_ensure_partition('2026-11-18');
             INSERT INTO audit_event_ids VALUES ('{id}', to_timestamp({seconds}), '\\x{content_hash}');
             INSERT INTO audit_events (event_id, event_timestamp, version, event_type, event_category, event_action,
                 event_outcome, correlation_id, event_data, sequence, recorded_at, previous_hash, event_hash)
             VALUES ('{id}', to_timestamp({seconds}), '1.0', 't', 'gateway', 'a', 'success', '{correlation}', '{data}',
                 {sequence}, to_timestamp({seconds}), '\\x{before}', '\\x{hash}');
             INSERT INTO audit_chain_heads VALUES ('{correlation}', {sequence}, '\\x{hash}')
             ON CONFLICT (correlation_id) DO UPDATE SET sequence = {sequence}, event_hash = '\\x{hash}'",
            seconds = micros / 1_000_000,
            content_hash = hex::encode(Sha256::digest(&content)),
            before = hex::encode(&previous),
            hash = hex::encode(&hash),
        ));
        previous = hash;
    }
    assert_eq!(service.write(&event(&correlation)).status, 201);
    let verification = service.verify(&correlation);
    assert_eq!(verification["tampered_events"], json!([]));
    assert_eq!(verification["verified_events"], numbers.len() + 1);
    service.servers.sql(&format!(
        "SET session_replication_role = replica;
         UPDATE audit_events SET event_data = '{{\"v\": 100.00}}' WHERE correlation_id = '{correlation}' AND sequence = 1;
         UPDATE audit_events SET data_salt = decode(repeat('00', 16), 'hex'), hash_format = 2
         WHERE correlation_id = '{correlation}' AND sequence = 2"
    ));
    let sequences: Vec<Value> = service.verify(&correlation)["tampered_events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["sequence"].clone())
        .collect();
    assert_eq!(sequences, [1, 2]);
}
