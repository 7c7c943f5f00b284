//! A history that proves that it was not altered.

use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};

use crate::stack::{EVENTS, Servers, Service, event, name, text, until};

fn chain(service: &Service, length: usize) -> (String, Vec<String>) {
    let correlation = name("chain");
    let ids = (0..length)
        .map(|number| {
            let mut event = event(&correlation);
            event["event_data"] = json!({"number": number, "float": 1e16, "text": "é\"\n"});
            assert_eq!(service.write(&event).status, 201);
            event["event_id"].as_str().unwrap().to_owned()
        })
        .collect();
    (correlation, ids)
}

fn tampered(service: &Service, correlation: &str) -> Vec<(String, i64, Option<String>)> {
    let verification = service.verify(correlation);
    let found = verification["tampered_events"].as_array().unwrap();
    assert_eq!(verification["is_valid"], found.is_empty());
    found
        .iter()
        .map(|event| {
            let id = event["event_id"].as_str().map(str::to_owned);
            (
                event["kind"].as_str().unwrap().to_owned(),
                event["sequence"].as_i64().unwrap(),
                id,
            )
        })
        .collect()
}

#[test]
fn superusers_alterations_deletions_and_insertions_are_reported() {
    let service = Service::start();
    let servers = Arc::clone(&service.servers);
    let (altered, altered_ids) = chain(&service, 5);
    let (deleted, deleted_ids) = chain(&service, 5);
    let (cut, cut_ids) = chain(&service, 5);
    let (inserted, inserted_ids) = chain(&service, 5);
    let forged = uuid::Uuid::now_v7().to_string();
    servers.sql(&format!(
        "SET session_replication_role = replica;
         UPDATE audit_events SET event_data = event_data || '{{\"number\": 7}}' WHERE event_id = '{}';
         DELETE FROM audit_events WHERE event_id = '{}';
         DELETE FROM audit_events WHERE event_id = '{}';
         CREATE TEMP TABLE forged AS SELECT * FROM audit_events WHERE event_id = '{}';
         UPDATE forged SET event_id = '{forged}';
         INSERT INTO audit_events SELECT * FROM forged",
        altered_ids[2], deleted_ids[1], cut_ids[4], inserted_ids[3]
    ));
    let id = |id: &str| Some(id.to_owned());
    assert_eq!(
        tampered(&service, &altered),
        [("altered".to_owned(), 3, id(&altered_ids[2]))]
    );
    assert_eq!(tampered(&service, &deleted), [("missing".to_owned(), 2, None)]);
    assert_eq!(tampered(&service, &cut), [("missing".to_owned(), 5, None)]);
    assert_eq!(
        tampered(&service, &inserted),
        [("inserted".to_owned(), 4, id(&forged))]
    );
    assert_eq!(service.verify(&altered)["verified_events"], 4);
    assert_eq!(
        service
            .post("/api/v1/audit/verify-chain", &json!({"correlation_id": "none"}))
            .status,
        404
    );
    assert_eq!(
        service.post("/api/v1/audit/verify-chain", &json!({})).fields(),
        ["correlation_id"]
    );
}

/// Waits until every event has its place in the transparency log.
fn integrated(service: &Service) {
    until("every event is in the tree", 30, || {
        match service.servers.count("SELECT count(*) FROM audit_log_pending") {
            0 => Ok(()),
            waiting => Err(format!("{waiting} wait\n{}", service.log())),
        }
    });
}

#[test]
fn log_finds_what_a_superuser_with_the_chains_own_records_forges() {
    let service = Service::start();
    let chains: Vec<(String, Vec<String>)> = (0..4).map(|_| chain(&service, 5)).collect();
    integrated(&service);
    let [gap, tail, whole, replaced] = [0, 1, 2, 3].map(|number| chains[number].0.as_str());
    let replacement = chain(&service, 5).0;
    integrated(&service);
    service.servers.sql(&format!(
        "INSERT INTO audit_chain_gaps (correlation_id, first_sequence, last_sequence, previous_hash, last_hash)
             SELECT correlation_id, 3, 3, previous_hash, event_hash FROM audit_events
             WHERE correlation_id = '{gap}' AND sequence = 3;
         DELETE FROM audit_events WHERE correlation_id = '{gap}' AND sequence = 3;
         DELETE FROM audit_events WHERE correlation_id = '{tail}' AND sequence > 3;
         UPDATE audit_chain_heads SET sequence = 3, event_hash = (SELECT event_hash FROM audit_events
             WHERE correlation_id = '{tail}' AND sequence = 3) WHERE correlation_id = '{tail}';
         DELETE FROM audit_events WHERE correlation_id = '{whole}';
         DELETE FROM audit_chain_heads WHERE correlation_id = '{whole}';
         SET session_replication_role = replica;
         DELETE FROM audit_events WHERE correlation_id = '{replaced}';
         UPDATE audit_events SET correlation_id = '{replaced}' WHERE correlation_id = '{replacement}';
         UPDATE audit_chain_heads AS head SET event_hash = other.event_hash FROM audit_chain_heads AS other
             WHERE head.correlation_id = '{replaced}' AND other.correlation_id = '{replacement}'"
    ));
    let found = |correlation| {
        tampered(&service, correlation)
            .into_iter()
            .map(|(kind, sequence, _)| (kind, sequence))
            .collect::<Vec<_>>()
    };
    let all = |kind: &str, sequences: std::ops::RangeInclusive<i64>| {
        sequences
            .map(|sequence| (kind.to_owned(), sequence))
            .collect::<Vec<_>>()
    };
    assert_eq!(found(gap)[0], ("missing".to_owned(), 3));
    assert_eq!(found(tail), all("missing", 4..=5));
    assert_eq!(found(whole), all("missing", 1..=5));
    assert_eq!(found(replaced), all("altered", 1..=5));
    // An event that is written now does not hide it.
    assert_eq!(service.write(&event(tail)).status, 201);
    assert!(!found(tail).is_empty());
}

#[test]
fn every_sent_column_is_protected() {
    let service = Service::start();
    let (correlation, ids) = chain(&service, 1);
    for change in [
        "event_timestamp = event_timestamp + interval '1 microsecond'",
        "event_type = 'x'",
        "event_category = 'workflow'",
        "event_action = 'x'",
        "event_outcome = 'failure'",
        "event_data = '{}'",
        "actor_type = NULL",
        "actor_id = 'x'",
        "resource_type = 'x'",
        "resource_id = 'x'",
        "parent_event_id = event_id",
        "namespace = 'x'",
        "cluster_name = NULL",
        "severity = 'x'",
        "duration_ms = 13",
        "error_code = 'x'",
        "error_message = 'x'",
        "retention_days = 1",
        "recorded_at = recorded_at + interval '1 second'",
        "version = '2'",
    ] {
        let id = &ids[0];
        service.servers.sql(&format!(
            "SET session_replication_role = replica; CREATE TEMP TABLE kept AS SELECT * FROM audit_events WHERE event_id = '{id}';
             UPDATE audit_events SET {change} WHERE event_id = '{id}'"
        ));
        assert_eq!(tampered(&service, &correlation).len(), 1, "{change}");
        service.servers.sql(&format!(
            "SET session_replication_role = replica; UPDATE audit_events SET {} WHERE event_id = '{id}'",
            undo(change)
        ));
        assert_eq!(tampered(&service, &correlation), [], "undone: {change}");
    }
}

/// SQL that restores a column to the value of [`event`].
fn undo(change: &str) -> String {
    let column = change.split(' ').next().unwrap();
    let value = match column {
        "event_timestamp" => "event_timestamp - interval '1 microsecond'",
        "recorded_at" => "recorded_at - interval '1 second'",
        "event_type" => "'gateway.signal.received'",
        "event_category" | "actor_id" => "'gateway'",
        "event_action" => "'received'",
        "event_outcome" => "'success'",
        "event_data" => r#"'{"number": 0, "float": 10000000000000000.0, "text": "é\"\n"}'"#,
        "actor_type" => "'service'",
        "resource_type" => "'Pod'",
        "resource_id" => "'payment-api-789'",
        "parent_event_id" => "NULL",
        "namespace" => "'prod'",
        "cluster_name" => "'main'",
        "severity" => "'critical'",
        "duration_ms" => "12",
        "error_code" => "'E1'",
        "error_message" => "'none'",
        "retention_days" => "30",
        "version" => "'1.0'",
        other => panic!("{other}"),
    };
    format!("{column} = {value}")
}

#[test]
fn service_role_cannot_change_or_truncate_the_trail() {
    let service = Service::start();
    let (_, ids) = chain(&service, 1);
    let update = format!(
        "UPDATE audit_events SET severity = 'low' WHERE event_id = '{}'",
        ids[0]
    );
    assert!(service.servers.rejected_sql(&update).contains("append-only"));
    let partition = &service
        .servers
        .sql("SELECT tableoid::regclass::text FROM audit_events")[0][0];
    for table in ["audit_events", partition.as_deref().unwrap()] {
        assert!(
            service
                .servers
                .rejected_sql(&format!("TRUNCATE {table}"))
                .contains("can not be truncated"),
            "{table}"
        );
    }
}

#[test]
fn writers_of_two_replicas_in_one_correlation_make_one_valid_chain() {
    let service = Arc::new(Service::start());
    let replica = Arc::new(service.replica());
    let correlation = name("replicas");
    let writers: Vec<_> = (0..8)
        .map(|number| {
            let service = Arc::clone(if number % 2 == 0 { &service } else { &replica });
            let correlation = correlation.clone();
            thread::spawn(move || {
                for turn in 0..25 {
                    let mut event = event(&correlation);
                    // Some arrive days after they happened: late is not tampering.
                    let ago = jiff::SignedDuration::from_hours((number * turn) % 150);
                    event["event_timestamp"] = json!((jiff::Timestamp::now() - ago).to_string());
                    assert_eq!(service.write(&event).status, 201);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let verification = service.verify(&correlation);
    assert_eq!(
        (&verification["is_valid"], &verification["total_events"]),
        (&json!(true), &json!(200)),
        "{verification}"
    );
    let mut sequences: Vec<i64> = service
        .events(&correlation)
        .iter()
        .map(|event| event["sequence"].as_i64().unwrap())
        .collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=200).collect::<Vec<_>>());
}

#[test]
fn keyed_chain_cannot_be_forged_by_the_database_owner() {
    let servers = Arc::new(Servers::shared());
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "0123456789abcdef0123456789abcdef").unwrap();
    let more = format!("[chain]\nhmac_key_file = '{}'\n", key.path().display());
    let service = Service::start_with(Arc::clone(&servers), &more);
    let (correlation, ids) = chain(&service, 3);
    let verification = service.verify(&correlation);
    assert_eq!(
        (&verification["is_valid"], &verification["keyed_events"]),
        (&json!(true), &json!(3))
    );
    servers.sql(&format!(
        "SET session_replication_role = replica; UPDATE audit_events SET chain_key = NULL WHERE event_id = '{}'",
        ids[1]
    ));
    assert_eq!(
        tampered(&service, &correlation),
        [("altered".to_owned(), 2, Some(ids[1].clone()))]
    );
}

#[test]
fn rolling_update_of_the_key_leaves_no_event_reported() {
    let servers = Arc::new(Servers::shared());
    let keys: Vec<_> = ["first", "second"]
        .map(|name| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), format!("{name:0<32}")).unwrap();
            file
        })
        .into();
    let [first, second] = [0, 1].map(|key: usize| keys[key].path().display());
    let replicas = [
        String::new(),
        format!("[chain]\nhmac_key_file = '{first}'\n"),
        format!("[chain]\nhmac_key_file = '{second}'\nprevious_hmac_key_files = ['{first}']\n"),
    ]
    .map(|more| Service::start_with(Arc::clone(&servers), &more));
    let correlation = name("rollout");
    // Two updates, each with the old and the new replica writing by turns.
    for writer in [0, 1, 0, 1, 1, 2, 1, 2] {
        assert_eq!(replicas[writer].post(EVENTS, &event(&correlation)).status, 201);
    }
    for (replica, unverifiable) in replicas.iter().zip([6, 2, 0]) {
        let verification = replica.verify(&correlation);
        assert_eq!(verification["is_valid"], true, "{verification}");
        assert_eq!(
            (
                &verification["keyed_events"],
                &verification["unverifiable_events"]
            ),
            (&json!(6), &json!(unverifiable))
        );
    }
    // After its end, a key is not that of an honest event.
    let ended = format!(
        "[chain]\nhmac_key_file = '{second}'\nhmac_key_start = '2020-01-02T00:00:00Z'\n\
         previous_hmac_key_files = [{{ file = '{first}', end = '2020-01-02T00:00:00Z' }}]\n"
    );
    let verification = Service::start_with(servers, &ended).verify(&correlation);
    let tampered = verification["tampered_events"].as_array().unwrap();
    let sequences: Vec<_> = tampered.iter().map(|event| &event["sequence"]).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 7], "{verification}");
}

#[test]
fn large_export_verifies_offline_in_little_memory() {
    let service = Service::start();
    let correlation = name("export");
    for _ in 0..20 {
        let batch: Value = (0..1000).map(|_| event(&correlation)).collect();
        assert_eq!(service.post("/api/v1/audit/events/batch", &batch).status, 201);
    }
    let (other, _) = chain(&service, 2);
    let before = service.memory_kib();
    let whole = service.get("/api/v1/audit/export");
    assert_eq!((whole.status, whole.kind.as_str()), (200, "application/x-ndjson"));
    assert_eq!(whole.text.lines().count(), 20_003);
    assert!(whole.text.contains(&other));
    let grown = service.memory_kib().saturating_sub(before);
    assert!(
        grown < 16 * 1024,
        "an export of {} bytes took {grown} KiB",
        whole.text.len()
    );
    let file = service.folder.path().join("export.ndjson");
    std::fs::write(&file, &whole.text).unwrap();
    let verified = service.run(&["verify-export"], &[file.to_str().unwrap()]);
    assert!(
        text(&verified).contains("20002 events of 2 chains verify"),
        "{}",
        text(&verified)
    );
    std::fs::write(&file, whole.text.replacen("HighMemoryUsage", "LowMemoryUsage", 1)).unwrap();
    let altered = service.run(&["verify-export"], &[file.to_str().unwrap()]);
    assert_eq!(altered.status.code(), Some(1), "{}", text(&altered));
    let one = service.get(&format!("/api/v1/audit/export?correlation_id={other}"));
    assert_eq!(one.text.lines().count(), 3);
    assert_eq!(service.get("/api/v1/audit/export?limit=5").fields(), ["limit"]);
}

#[test]
fn timeline_shows_a_history_and_the_state_of_its_chain() {
    let service = Service::start();
    let (correlation, ids) = chain(&service, 3);
    let page = service.get(&format!("/timeline/{correlation}"));
    assert_eq!(
        (page.status, page.kind.as_str()),
        (200, "text/html; charset=utf-8")
    );
    assert!(page.text.contains("Chain intact.") && page.text.contains(&ids[2]));
    service.servers.sql(&format!(
        "SET session_replication_role = replica; UPDATE audit_events SET severity = 'x' WHERE event_id = '{}'",
        ids[0]
    ));
    let page = service.get(&format!("/timeline/{correlation}"));
    assert!(page.text.contains("Chain broken.") && page.text.contains("Not as stored:"));
    assert_eq!(service.get("/timeline/none").status, 404);
}
