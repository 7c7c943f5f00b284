//! A private instance of a service: the compiled program with a changed configuration.

use std::path::PathBuf;
use std::process;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};
use subprocess::{Cancel, Child, Command};
use tempfile::TempDir;

use crate::harness::context::Context;
use crate::http::Http;
use crate::stack::Stack;
use crate::wait::{Seen, until};

/// An address with a free port, which the service selects.
const ANY_PORT: &str = "127.0.0.1:0";
/// The file in an instance's folder with the addresses of its listeners.
const ADDRESSES: &str = "addresses.json";
/// Maximum time to become ready.
const READY: Duration = Duration::from_secs(30);
/// Maximum time of a subcommand.
const ENDED: Duration = Duration::from_secs(60);

/// One process of a service, ended on drop.
pub(crate) struct Instance {
    /// The base URL of its API.
    pub(crate) api: String,
    _child: Child,
    _program: Program,
}

/// A service's program with a configuration.
pub(crate) struct Program {
    path: PathBuf,
    folder: TempDir,
}

impl Program {
    /// The Gateway, with the stack's cluster and DataStorage; `changes` are merged into its configuration.
    pub(crate) fn gateway(context: &Context, changes: &Value) -> Result<Self> {
        let stack = &context.stack;
        let kubeconfig = stack
            .kubeconfig
            .as_ref()
            .context("the stack file has no kubeconfig")?;
        Self::new(stack, "gateway", changes, |folder| {
            Ok(json!({
                "kubernetes": {"kubeconfig": kubeconfig, "fallback_namespace": stack.namespace},
                "datastorage": {"url": stack.service("datastorage", "api")?},
                "spool": {"directory": folder.path().join("spool")},
            }))
        })
    }

    /// DataStorage, with the stack's database and Redis; `changes` are merged into its configuration.
    pub(crate) fn datastorage(context: &Context, changes: &Value) -> Result<Self> {
        let stack = &context.stack;
        let sql: tokio_postgres::Config = stack.component("postgresql", "sql")?.parse()?;
        let redis = url(stack.component("redis", "redis")?)?;
        let host = match sql.get_hosts() {
            [tokio_postgres::config::Host::Tcp(host), ..] => host.clone(),
            _ => return Err(anyhow!("components.postgresql.sql has no host")),
        };
        let port = sql.get_ports().first().copied().unwrap_or(5432);
        Self::new(stack, "datastorage", changes, |folder| {
            let secret = |name: &str, value: &[u8]| -> Result<PathBuf> {
                let path = folder.path().join(name);
                std::fs::write(&path, value)?;
                Ok(path)
            };
            Ok(json!({
                "postgresql": {
                    "address": format!("{host}:{port}"),
                    "database": sql.get_dbname().unwrap_or("audit"),
                    "user": sql.get_user().unwrap_or("kubernaut"),
                    "password_file": secret("postgresql-password", sql.get_password().unwrap_or_default())?,
                },
                "redis": {
                    "address": redis.1,
                    "password_file": secret("redis-password", redis.0.as_bytes())?,
                },
            }))
        })
    }

    fn new(
        stack: &Stack,
        service: &str,
        changes: &Value,
        configure: impl FnOnce(&TempDir) -> Result<Value>,
    ) -> Result<Self> {
        let path = stack.programs.get(service).cloned();
        let path = path.with_context(|| format!("the stack file has no programs.{service}"))?;
        let folder = tempfile::tempdir()?;
        let mut configuration = configure(&folder)?;
        overlay(
            &mut configuration,
            &json!({"environment": "test", "http": {"api": ANY_PORT, "health": ANY_PORT, "metrics": ANY_PORT,
                "addresses_file": folder.path().join(ADDRESSES)}}),
        );
        overlay(&mut configuration, changes);
        std::fs::write(
            folder.path().join("config.toml"),
            toml::to_string(&configuration)?,
        )?;
        Ok(Self { path, folder })
    }

    /// The command with these arguments and its configuration.
    fn command(&self, arguments: &[&str]) -> process::Command {
        let mut command = process::Command::new(&self.path);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("config.toml"));
        command
    }

    /// Runs a subcommand to completion, and returns its output.
    ///
    /// # Errors
    /// With its last lines, if its exit code is not 0.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        let command = Command::new(self.command(arguments)).deadline(ENDED);
        let output = command
            .capture(&Cancel::never())
            .map_err(|failure| anyhow!("{failure}"))?;
        Ok(output.text())
    }

    /// Starts the service; returns the instance when it is ready.
    pub(crate) async fn serve(self) -> Result<Instance> {
        let log = self.folder.path().join("log");
        let command = Command::new(self.command(&["serve"])).log(&log);
        let child = command.spawn().map_err(|failure| anyhow!("{failure}"))?;
        let http = Http::new()?;
        let ready = until(READY, "a private instance to be ready", async || {
            if !child.is_running() {
                return Ok(Seen::Never("the process has ended".to_owned()));
            }
            let addresses = std::fs::read(self.folder.path().join(ADDRESSES))?;
            let addresses: Value = serde_json::from_slice(&addresses)?;
            let address = |name: &str| addresses[name].as_str().context("the address of a listener");
            let health = format!("http://{}/readyz", address("health")?);
            http.get(health).send().await?.expect(200)?;
            Ok(Seen::Yes(format!("http://{}", address("api")?)))
        });
        let api = ready
            .await
            .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Instance {
            api,
            _child: child,
            _program: self,
        })
    }
}

/// Merges `changes` into a document: objects recursively, other values replace.
fn overlay(document: &mut Value, changes: &Value) {
    match (document, changes) {
        (Value::Object(document), Value::Object(changes)) => {
            for (name, change) in changes {
                overlay(document.entry(name).or_insert(Value::Null), change);
            }
        }
        (document, changes) => *document = changes.clone(),
    }
}

/// Splits `redis://:PASSWORD@HOST:PORT/DB` into password and address.
fn url(text: &str) -> Result<(String, String)> {
    let client = redis::Client::open(text)?;
    let information = client.get_connection_info();
    let password = information
        .redis_settings()
        .password()
        .unwrap_or_default()
        .to_owned();
    Ok((password, information.addr().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_merged_and_keep_the_rest() {
        let mut document = json!({"http": {"api": "a", "health": "h"}, "spool": {"directory": "d"}});
        overlay(
            &mut document,
            &json!({"http": {"api": "b"}, "auth": {"mode": "kubernetes"}}),
        );
        assert_eq!(
            document,
            json!({"http": {"api": "b", "health": "h"}, "spool": {"directory": "d"}, "auth": {"mode": "kubernetes"}})
        );
    }

    #[test]
    fn redis_url_is_split_into_password_and_address() {
        assert_eq!(
            url("redis://:secret@127.0.0.1:16379/0").unwrap(),
            ("secret".into(), "127.0.0.1:16379".into())
        );
    }
}
