//! The catalogue is valid, specific entries precede general ones, and its page is up to date.

use std::{collections::BTreeSet, fmt::Write as _};

use super::*;

fn first(task: &str, role: Option<&str>, error: &str) -> Option<&'static str> {
    let case = Case {
        task,
        role,
        error,
        texts: BTreeMap::new(),
    };
    let matches = |entry: &&Entry| case.is_one_of(&entry.tasks) && case.line_with(&entry.texts).is_some();
    catalogue()
        .failure
        .iter()
        .find(matches)
        .map(|entry| entry.id.as_str())
}

#[test]
fn catalogue_is_valid_and_has_unique_ids() {
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
fn each_failure_has_a_test_that_produces_it() {
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
fn specific_causes_precede_general_ones() {
    let service = Some("service");
    let oom = r#"CrashLoopBackOff (3 restarts, last with {"exitCode":137,"reason":"OOMKilled"})"#;
    assert_eq!(first("front", service, oom), Some("killed-for-memory"));
    assert_eq!(
        first("front", service, "CrashLoopBackOff\n exec /x: exec format error"),
        Some("wrong-architecture")
    );
    assert_eq!(
        first(
            "front",
            service,
            "front exited unexpectedly\n bind: Address already in use"
        ),
        Some("port-in-use")
    );
    assert_eq!(
        first("front", service, "front exited unexpectedly"),
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
fn finds_known_causes_in_the_log_of_a_node() {
    let log = "systemd 252\nFailed to create inotify object: Too many open files\nexit\n";
    let (cause, line) = node_cause(log).unwrap();
    assert!(cause.cause.contains("inotify"), "{cause:?}");
    assert_eq!(line, "Failed to create inotify object: Too many open files");
    assert!(node_cause("systemd 252\n").is_none());
}

/// Returns the page of the catalogue.
fn page() -> String {
    let mut page = String::from(
        "# Known failures\n\nThe summary of a failed run shows the cause, related facts and the fix of the failures below. This\n\
         page is generated from [catalogue.toml](../xtask/src/e2e/diagnose/catalogue.toml); a test keeps it\n\
         up to date. A [test of the runner](../xtask/tests/runner/failures.rs) produces each failure.\n\n\
         | id | cause | fix |\n|---|---|---|\n",
    );
    for Entry { id, title, fix, .. } in &catalogue().failure {
        let _ = writeln!(page, "| `{id}` | {title} | {} |", fix.replace('|', "\\|"));
    }
    page.push_str("\n## Messages in a node's log\n\n| text | cause | fix |\n|---|---|---|\n");
    for NodeCause { text, cause, fix } in &catalogue().node {
        let _ = writeln!(page, "| `{text}` | {cause} | {fix} |");
    }
    page
}

#[test]
fn page_is_up_to_date() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/failures.md");
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&file, page()).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        written,
        page(),
        "docs/failures.md is outdated; run: WRITE_DOCS=1 cargo test -p xtask page_is_up_to_date"
    );
}
