//! The program: its configuration, arguments and output.

use std::fs;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::servers::{Servers, login};

/// The file in a program's folder with the addresses of its listeners.
pub(super) const ADDRESSES: &str = "addresses.json";

/// A folder with the configuration of a service on these servers.
pub(crate) fn configured(servers: &Servers, more: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display();
    let (user, password) = login(&servers.postgres.url());
    let (_, redis_password) = login(&servers.redis.url());
    fs::write(folder.path().join("postgresql-password"), password).unwrap();
    fs::write(
        folder.path().join("redis-password"),
        format!("{redis_password}\n"),
    )
    .unwrap();
    // A loaded machine is slow to open connections; connecting to a stopped PostgreSQL fails at once.
    let config = format!(
        "environment = 'test'\n[postgresql]\nconnect_timeout_ms = 10000\npool_wait_ms = 10000\naddress = '127.0.0.1:{}'\ndatabase = '{}'\nuser = '{user}'\n\
         password_file = '{here}/postgresql-password'\n[redis]\naddress = '127.0.0.1:{}'\n\
         password_file = '{here}/redis-password'\n{more}",
        servers.postgres.port(),
        servers.database,
        servers.redis.port(),
    );
    fs::write(folder.path().join("config.toml"), config).unwrap();
    folder
}

/// Runs the program to completion.
pub(crate) fn run(folder: &TempDir, verbs: &[&str], rest: &[&str]) -> Output {
    command(folder, verbs, rest)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The program with its listeners on free ports, which it writes to [`ADDRESSES`].
pub(super) fn command(folder: &TempDir, verbs: &[&str], rest: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_datastorage"));
    command
        .args(verbs)
        .arg("--config")
        .arg(folder.path().join("config.toml"))
        .args(rest);
    for name in ["API", "HEALTH", "METRICS"] {
        command.env(format!("DATASTORAGE__HTTP__{name}"), "127.0.0.1:0");
    }
    // A loaded machine is slow to commit, too.
    let config = fs::read_to_string(folder.path().join("config.toml")).unwrap();
    for (key, value) in [("commit_timeout_ms", "12000"), ("write_timeout_ms", "20000")] {
        if !config.contains(key) {
            command.env(format!("DATASTORAGE__WRITER__{}", key.to_uppercase()), value);
        }
    }
    command
        .env("DATASTORAGE__HTTP__ADDRESSES_FILE", folder.path().join(ADDRESSES))
        .env("DATASTORAGE__STOP__ANNOUNCE_MS", "0")
        .env_remove("RUST_LOG");
    command
}

/// Its complete output.
pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Sends a signal, such as `TERM`.
pub(super) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(status.success());
}
