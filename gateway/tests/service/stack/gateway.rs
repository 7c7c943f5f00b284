//! The Gateway as a running process, and its HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process;

use serde_json::Value;
use subprocess::{Cancel, Child, Command};

use super::{alert, until, webhook};

/// Free ports: the log has the addresses.
const LISTEN: &str = "api = \"127.0.0.1:0\"\nhealth = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n";

#[derive(Clone, Copy)]
struct Addresses {
    api: SocketAddr,
    health: SocketAddr,
    metrics: SocketAddr,
}

/// A running Gateway, killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    config: PathBuf,
    log: PathBuf,
    addresses: Addresses,
    http: reqwest::Client,
}

/// A response of the Gateway.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Gateway {
    /// Starts one in a folder, with its configuration, its spool and its logs; it is ready when this returns.
    pub(super) async fn start(folder: &Path, settings: &str, http: reqwest::Client) -> Self {
        let config = folder.join("config.toml");
        let text = format!(
            "{settings}[spool]\ndirectory = {:?}\nflush_ms = 2000\n[stop]\nannounce_ms = 200\ndrain_ms = 10000\n",
            folder.join("spool"),
        );
        let text = match text.contains("[http]") {
            true => text.replace("[http]\n", &format!("[http]\n{LISTEN}")),
            // Keys outside of a section come first.
            false => text.replacen("\n[", &format!("\n[http]\n{LISTEN}["), 1),
        };
        std::fs::write(&config, text).unwrap();
        let log = folder.join(format!("log-{}", uuid::Uuid::now_v7()));
        let mut command = process::Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.args(["serve", "--config"]).arg(&config);
        let child = Command::new(command).name("gateway").log(&log).spawn().unwrap();
        let addresses = addresses(&child, &log).await;
        let gateway = Self {
            child,
            config,
            log,
            addresses,
            http,
        };
        until("the Gateway to be ready", async || {
            gateway.get_health("/readyz").await == Some(200)
        })
        .await;
        gateway
    }

    /// The URL of a path of the API.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses.api)
    }

    /// Sends a webhook.
    pub(crate) async fn webhook(&self, body: &Value) -> Answer {
        self.try_webhook(body).await.unwrap()
    }

    /// Sends a webhook; `None` without a response.
    pub(crate) async fn try_webhook(&self, body: &Value) -> Option<Answer> {
        let request = self.http.post(self.url("/api/v1/signals/prometheus")).json(body);
        answer(request).await
    }

    /// Sends one alert about a pod in `shop`.
    pub(crate) async fn alert(&self, name: &str) -> Answer {
        self.webhook(&webhook(&[alert(name)])).await
    }

    /// Sends `number` of the same alert at once; returns the number of responses by status.
    pub(crate) async fn storm(&self, name: &str, number: usize) -> BTreeMap<u16, usize> {
        let body = webhook(&[alert(name)]);
        let answers = futures::future::join_all((0..number).map(|_| self.webhook(&body))).await;
        counted(answers)
    }

    /// The status of a path of the health listener.
    pub(crate) async fn get_health(&self, path: &str) -> Option<u16> {
        let request = self.http.get(format!("http://{}{path}", self.addresses.health));
        Some(request.send().await.ok()?.status().as_u16())
    }

    /// A dependency in `/readyz`: its status and detail.
    pub(crate) async fn dependency(&self, name: &str) -> (String, String) {
        let url = format!("http://{}/readyz", self.addresses.health);
        let body: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        let dependency = &body["dependencies"][name];
        let text = |key: &str| dependency[key].as_str().unwrap_or_default().to_owned();
        (text("status"), text("detail"))
    }

    /// Runs `gateway events` with these arguments and its configuration; returns its output if it succeeds.
    pub(crate) fn events(&self, arguments: &[&str]) -> Option<String> {
        let mut command = process::Command::new(env!("CARGO_BIN_EXE_gateway"));
        command
            .arg("events")
            .args(arguments)
            .arg("--config")
            .arg(&self.config);
        let output = command.output().unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// All metrics.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.addresses.metrics);
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// A metric's value.
    pub(crate) async fn metric(&self, line: &str) -> Option<f64> {
        self.metrics()
            .await
            .lines()
            .find_map(|text| text.strip_prefix(line)?.trim().parse().ok())
    }

    /// The most memory that it had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Starts a graceful stop.
    pub(crate) fn terminate(&self) {
        let pid = self.child.pid().to_string();
        assert!(
            process::Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the graceful stop to end; returns the log.
    pub(crate) async fn ended(self) -> String {
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || self.child.wait(&Cancel::never()))
            .await
            .unwrap()
            .unwrap();
        std::fs::read_to_string(log).unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(self) {
        self.child.kill();
    }
}

/// Sends a request and parses the response as JSON.
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Option<Answer> {
    let response = request.send().await.ok()?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.ok()?;
    Some(Answer {
        status,
        headers,
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
    })
}

/// The number of responses by status.
pub(crate) fn counted(answers: impl IntoIterator<Item = Answer>) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status).or_insert(0) += 1;
    }
    counts
}

/// Its addresses, from the log.
async fn addresses(child: &Child, log: &Path) -> Addresses {
    let mut found = None;
    until("the Gateway to serve", async || {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        assert!(child.is_running(), "the Gateway ended: {text}");
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        found = lines
            .filter(|line| line["message"] == "listening")
            .find_map(|line| {
                let address = |name: &str| line[name].as_str()?.parse().ok();
                Some(Addresses {
                    api: address("api")?,
                    health: address("health")?,
                    metrics: address("metrics")?,
                })
            });
        found.is_some()
    })
    .await;
    found.unwrap()
}
