//! The program itself: its configuration, its arguments, what it writes.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::servers::{Servers, login};

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
    // A machine that is busy with other tests is slow to open connections; a PostgreSQL that was stopped refuses at once.
    let config = format!(
        "environment = 'test'\n[postgresql]\nconnect_timeout_ms = 10000\naddress = '127.0.0.1:{}'\ndatabase = '{}'\nuser = '{user}'\n\
         password_file = '{here}/postgresql-password'\n[redis]\naddress = '127.0.0.1:{}'\n\
         password_file = '{here}/redis-password'\n{more}",
        servers.postgres.port(),
        servers.database,
        servers.redis.port(),
    );
    fs::write(folder.path().join("config.toml"), config).unwrap();
    folder
}

/// Runs the program to its end.
pub(crate) fn run(folder: &TempDir, verbs: &[&str], rest: &[&str]) -> Output {
    command(folder, verbs, rest, &free_ports())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The program with its listeners at these ports: the API's, the health's, the metrics'.
pub(super) fn command(folder: &TempDir, verbs: &[&str], rest: &[&str], ports: &[u16; 3]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_datastorage"));
    command
        .args(verbs)
        .arg("--config")
        .arg(folder.path().join("config.toml"))
        .args(rest);
    for (name, port) in ["API", "HEALTH", "METRICS"].into_iter().zip(ports) {
        command.env(format!("DATASTORAGE__HTTP__{name}"), format!("127.0.0.1:{port}"));
    }
    command
        .env("DATASTORAGE__HTTP__ANNOUNCE_MS", "0")
        .env_remove("RUST_LOG");
    command
}

/// All that it wrote.
pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Ports that nobody has at the moment.
pub(super) fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
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
