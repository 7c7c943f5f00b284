//! The catalogue as data: whole, in a sensible order, and the same as its page.

use std::{collections::BTreeSet, fmt::Write as _};

use super::*;

fn first(task: &str, role: Option<&str>, error: &str) -> Option<&'static str> {
    let case = Case {
        task,
        role,
        error,
        said: BTreeMap::new(),
    };
    let fits = |entry: &&Entry| case.is_one_of(&entry.tasks) && case.line_with(&entry.texts).is_some();
    catalogue()
        .failure
        .iter()
        .find(fits)
        .map(|entry| entry.id.as_str())
}

#[test]
fn the_catalogue_can_be_read_and_names_each_failure_once() {
    let read: Catalogue = toml::from_str(CATALOGUE).unwrap();
    let ids: BTreeSet<_> = read.failure.iter().map(|entry| &entry.id).collect();
    assert!(ids.len() == read.failure.len() && ids.len() >= 16, "{ids:?}");
    for entry in &read.failure {
        assert!(
            !entry.texts.is_empty() && entry.title.ends_with('.') && entry.fix.ends_with('.'),
            "{entry:?}"
        );
    }
    assert!(!read.node.is_empty());
}

#[test]
fn each_failure_is_made_for_real_by_a_test() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runner");
    let files = std::fs::read_dir(folder).unwrap();
    let tests: String = files
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    for Entry { id, .. } in &catalogue().failure {
        assert!(
            tests.contains(&format!("\"[{id}]\"")),
            "no test in tests/runner expects [{id}]"
        );
    }
}

#[test]
fn the_particular_cause_is_told_before_the_general_one() {
    let service = Some("service");
    let oom = r#"CrashLoopBackOff (3 restarts, it ended with {"exitCode":137,"reason":"OOMKilled"})"#;
    assert_eq!(first("front", service, oom), Some("killed-for-memory"));
    assert_eq!(
        first("front", service, "CrashLoopBackOff\n exec /x: exec format error"),
        Some("wrong-architecture")
    );
    assert_eq!(
        first(
            "front",
            service,
            "front ended by itself\n bind: Address already in use"
        ),
        Some("port-in-use")
    );
    assert_eq!(
        first("front", service, "front ended by itself"),
        Some("crash-loop")
    );
    assert_eq!(
        first("migrate", Some("job"), "ERROR: no such table"),
        Some("migration-failed")
    );
    assert_eq!(
        first("migrate", Some("job"), "write: No space left on device"),
        Some("disk-full")
    );
    assert_eq!(first("front", service, "something new"), None);
}

#[test]
fn a_nodes_log_is_searched_for_the_known_causes() {
    let log = "systemd 252\nFailed to create inotify object: Too many open files\nexit\n";
    let (cause, line) = node_cause(log).unwrap();
    assert!(cause.cause.starts_with("inotify"), "{cause:?}");
    assert_eq!(line, "Failed to create inotify object: Too many open files");
    assert!(node_cause("systemd 252\n").is_none());
}

/// The page of the catalogue.
fn page() -> String {
    let mut page = String::from(
        "# Failures that the runner explains\n\nThe last screen of a failed run names what it is, the facts, and what to do. This page is made from\n\
         [catalogue.toml](../xtask/src/e2e/diagnose/catalogue.toml), which a test compares with it; each entry is produced for real by a test\n\
         ([runner](../xtask/tests/runner/failures.rs)).\n\n| id | what it is | what to do |\n|---|---|---|\n",
    );
    for Entry { id, title, fix, .. } in &catalogue().failure {
        let _ = writeln!(page, "| `{id}` | {title} | {} |", fix.replace('|', "\\|"));
    }
    page.push_str("\n## What a node's log says\n\n| text | cause | what to do |\n|---|---|---|\n");
    for NodeCause { text, cause, fix } in &catalogue().node {
        let _ = writeln!(page, "| `{text}` | {cause} | `{fix}` |");
    }
    page
}

#[test]
fn the_page_is_the_catalogues() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/failures.md");
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&file, page()).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        written,
        page(),
        "docs/failures.md is not the catalogue's: WRITE_DOCS=1 cargo test -p xtask the_page_is_the_catalogues"
    );
}
