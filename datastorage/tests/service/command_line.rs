//! The program's commands and configuration.

use std::fs;
use std::sync::Arc;
use std::thread;

use crate::stack::{Servers, configured, run, text};

#[test]
fn concurrent_and_repeated_migrations_succeed() {
    let servers = Arc::new(Servers::shared());
    let folder = Arc::new(configured(&servers, ""));
    let check = run(&folder, &["migrate"], &["--check"]);
    assert_eq!(check.status.code(), Some(1), "{}", text(&check));
    assert!(text(&check).contains("V1__audit_events"), "{}", text(&check));
    let both: Vec<_> = (0..4)
        .map(|_| {
            let folder = Arc::clone(&folder);
            thread::spawn(move || run(&folder, &["migrate"], &[]))
        })
        .collect();
    for migration in both {
        let output = migration.join().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }
    assert!(run(&folder, &["migrate"], &[]).status.success());
    assert!(run(&folder, &["migrate"], &["--check"]).status.success());
}

#[test]
fn older_schema_is_migrated_and_an_unknown_one_is_rejected() {
    let servers = Servers::shared();
    let folder = configured(&servers, "");
    let serve = run(&folder, &["serve"], &[]);
    assert_eq!(serve.status.code(), Some(3));
    assert!(text(&serve).contains("datastorage migrate"), "{}", text(&serve));
    assert!(run(&folder, &["migrate"], &[]).status.success());
    // As if a version that knew only the first migration had created it.
    servers.sql(
        "DROP TABLE workflows; DROP FUNCTION workflow_refuse_change; DROP INDEX audit_events_outcomes,
                 audit_events_outcomes_workflow; ALTER TABLE audit_events DROP COLUMN hash_format CASCADE, DROP COLUMN data_salt, DROP COLUMN event_data_hash;
                 DROP TABLE audit_log_pending, audit_log_leaves, audit_log_tiles, audit_log_size, audit_log_checkpoints;
                 DROP FUNCTION audit_gap_entry, audit_hold_entry, audit_release_entry, audit_log_older_event CASCADE; DELETE FROM refinery_schema_history WHERE version > 1",
    );
    let check = run(&folder, &["migrate"], &["--check"]);
    assert!(
        text(&check).contains("V2__workflows") && !text(&check).contains("V1"),
        "{}",
        text(&check)
    );
    assert!(run(&folder, &["migrate"], &[]).status.success());
    assert!(run(&folder, &["migrate"], &["--check"]).status.success());
    servers.sql("INSERT INTO refinery_schema_history SELECT 99, 'future', applied_on, '1' FROM refinery_schema_history
                 WHERE version = 1");
    for (verb, code) in [("serve", 3), ("migrate", 3)] {
        let output = run(&folder, &[verb], &[]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(text(&output).contains("V99__future"), "{}", text(&output));
    }
}

#[test]
fn every_configuration_error_is_reported_at_once() {
    let servers = Servers::shared();
    let folder = configured(
        &servers,
        "[writer]\ncommitters = 0\nspeed = 'fast'\n[retention]\ndefault_days = 'long'\n",
    );
    let output = run(&folder, &["serve"], &[]);
    assert_eq!(output.status.code(), Some(2));
    for field in ["writer.committers = 0", "writer.speed", "retention.default_days"] {
        assert!(text(&output).contains(field), "{field}: {}", text(&output));
    }
    fs::remove_file(folder.path().join("redis-password")).unwrap();
    let config = fs::read_to_string(folder.path().join("config.toml")).unwrap();
    let fine = config.split("[writer]").next().unwrap();
    fs::write(folder.path().join("config.toml"), fine).unwrap();
    let output = run(&folder, &["migrate"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("redis.password_file"), "{}", text(&output));
}

#[test]
fn effective_configuration_is_printed_without_secrets() {
    let servers = Servers::shared();
    let folder = configured(&servers, "");
    let output = run(&folder, &["serve"], &["--print-config"]);
    assert!(output.status.success(), "{}", text(&output));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        printed.contains(&format!("database = \"{}\"", servers.database)),
        "{printed}"
    );
    assert!(
        printed.contains("stream.most") || printed.contains("max_entries = 100000"),
        "{printed}"
    );
    let password = fs::read_to_string(folder.path().join("postgresql-password")).unwrap();
    assert!(!printed.contains(&password));
}
