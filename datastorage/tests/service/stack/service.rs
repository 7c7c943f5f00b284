//! The service as a running process, and its HTTP.

use std::fs;
use std::process::{Child, ExitStatus, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::program::{ADDRESSES, command, configured, run, signal, text};
use super::relay::Relay;
use super::servers::Servers;
use super::{EVENTS, until};

/// A running service.
pub(crate) struct Service {
    pub(crate) servers: Arc<Servers>,
    pub(crate) folder: TempDir,
    child: Child,
    api: String,
    health: String,
    metrics: String,
    agent: ureq::Agent,
}

impl Service {
    /// On shared servers, with a current schema.
    pub(crate) fn start() -> Self {
        Self::start_with(Arc::new(Servers::shared()), "")
    }

    /// On these servers, with additional configuration.
    pub(crate) fn start_with(servers: Arc<Servers>, more: &str) -> Self {
        Self::start_with_postgresql(servers, "", more)
    }

    /// On these servers, with additional lines in PostgreSQL's section and other configuration.
    pub(crate) fn start_with_postgresql(servers: Arc<Servers>, section: &str, more: &str) -> Self {
        let folder = configured(&servers, more);
        let file = folder.path().join("config.toml");
        let config = fs::read_to_string(&file).unwrap();
        fs::write(
            &file,
            config.replacen("[postgresql]\n", &format!("[postgresql]\n{section}\n"), 1),
        )
        .unwrap();
        let migrated = run(&folder, &["migrate"], &[]);
        assert!(migrated.status.success(), "{}", text(&migrated));
        Self::serve(servers, folder)
    }

    /// A service that reaches servers through relays.
    pub(crate) fn start_through(relays: &[&Relay], servers: Arc<Servers>, more: &str) -> Self {
        let folder = configured(&servers, more);
        let file = folder.path().join("config.toml");
        let mut config = fs::read_to_string(&file).unwrap();
        let address = |port: u16| format!("'127.0.0.1:{port}'");
        for relay in relays {
            config = config.replace(&address(relay.target()), &address(relay.port()));
        }
        fs::write(&file, config).unwrap();
        let migrated = run(&folder, &["migrate"], &[]);
        assert!(migrated.status.success(), "{}", text(&migrated));
        Self::serve(servers, folder)
    }

    /// Starts the program in a folder with a configuration.
    pub(crate) fn serve(servers: Arc<Servers>, folder: TempDir) -> Self {
        // Of an earlier start.
        let _ = fs::remove_file(folder.path().join(ADDRESSES));
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(folder.path().join("log"))
            .unwrap();
        let child = command(&folder, &["serve"], &[])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .allow_non_standard_methods(true)
            .build()
            .into();
        let mut service = Self {
            servers,
            folder,
            child,
            api: String::new(),
            health: String::new(),
            metrics: String::new(),
            agent,
        };
        service.wait_until_ready();
        service
    }

    fn wait_until_ready(&mut self) {
        until("the service is ready", 120, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the service ended with {status}:\n{}", self.log());
            }
            let Ok(addresses) = fs::read(self.folder.path().join(ADDRESSES)) else {
                return Err(self.log());
            };
            let addresses: Value = serde_json::from_slice(&addresses).unwrap();
            let url = |name: &str| format!("http://{}", addresses[name].as_str().unwrap());
            (self.api, self.health, self.metrics) = (url("api"), url("health"), url("metrics"));
            match self.agent.get(format!("{}/readyz", self.health)).call() {
                Ok(answer) if answer.status() == 200 => Ok(()),
                _ => Err(self.log()),
            }
        });
    }

    /// A second replica on the same stores.
    pub(crate) fn replica(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in ["config.toml", "postgresql-password", "redis-password"] {
            fs::copy(self.folder.path().join(file), folder.path().join(file)).unwrap();
        }
        let config = fs::read_to_string(folder.path().join("config.toml")).unwrap();
        let here = self.folder.path().display().to_string();
        let there = folder.path().display().to_string();
        fs::write(folder.path().join("config.toml"), config.replace(&here, &there)).unwrap();
        Self::serve(Arc::clone(&self.servers), folder)
    }

    /// Stops it as a pod is stopped; returns its exit status, servers and log.
    pub(crate) fn stop(mut self) -> (ExitStatus, Arc<Servers>, String) {
        signal(&self.child, "TERM");
        let status = until("the service ends", 30, || {
            self.child.try_wait().unwrap().ok_or_else(|| self.log())
        });
        (status, Arc::clone(&self.servers), self.log())
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends a request with an optional JSON body.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let text = body.map(Value::to_string);
        self.send_text(method, path, text.as_deref(), headers)
    }

    /// Sends a request with an optional body, which is JSON, or is to be rejected.
    pub(crate) fn send_text(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.api));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let result = match body {
            Some(body) => {
                let request = request
                    .header("content-type", "application/json")
                    .body(body.to_owned())
                    .unwrap();
                self.agent.run(request)
            }
            None => self.agent.run(request.body(()).unwrap()),
        };
        result.map_or_else(|error| Answer::none(&error), Answer::read)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body), &[])
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, &[])
    }

    pub(crate) fn write(&self, event: &Value) -> Answer {
        self.post(EVENTS, event)
    }

    /// All events of a correlation, newest first.
    pub(crate) fn events(&self, correlation: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let offset = events.len();
            let page = self
                .get(&format!(
                    "{EVENTS}?correlation_id={correlation}&limit=1000&offset={offset}"
                ))
                .json();
            events.extend(page["data"].as_array().unwrap().iter().cloned());
            // A page of large events ends before its limit.
            if page["pagination"]["has_more"] != true {
                return events;
            }
        }
    }

    pub(crate) fn verify(&self, correlation: &str) -> Value {
        let answer = self.post(
            "/api/v1/audit/verify-chain",
            &json!({ "correlation_id": correlation }),
        );
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    pub(crate) fn readyz(&self) -> (u16, Value) {
        let mut answer = self.agent.get(format!("{}/readyz", self.health)).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
    }

    /// Everything that Prometheus reads.
    pub(crate) fn metrics(&self) -> String {
        let answer = self.agent.get(format!("{}/metrics", self.metrics)).call();
        answer.unwrap().body_mut().read_to_string().unwrap()
    }

    /// The value of a metric with these labels; 0 if it does not exist.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        self.metrics()
            .lines()
            .find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok())
            .unwrap_or(0.0)
    }

    /// Runs another command of the program with this service's configuration.
    pub(crate) fn run(&self, verbs: &[&str], rest: &[&str]) -> Output {
        run(&self.folder, verbs, rest)
    }

    /// Resident memory of the process.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// HOST:PORT of the API.
    pub(crate) fn address(&self) -> &str {
        self.api.trim_start_matches("http://")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the service's log:\n{}", self.log());
        }
    }
}

/// A response.
pub(crate) struct Answer {
    /// 0 without a response.
    pub(crate) status: u16,
    /// The header `Retry-After`.
    pub(crate) retry_after: Option<String>,
    /// The header `WWW-Authenticate`.
    pub(crate) challenge: Option<String>,
    /// The content type; empty if there is none.
    pub(crate) kind: String,
    /// The body, or the error without a response.
    pub(crate) text: String,
}

impl Answer {
    fn read(mut response: ureq::http::Response<ureq::Body>) -> Self {
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        Self {
            status: response.status().as_u16(),
            retry_after: header("retry-after"),
            challenge: header("www-authenticate"),
            kind: header("content-type").unwrap_or_default(),
            text: response
                .body_mut()
                .with_config()
                .limit(1 << 30)
                .read_to_string()
                .unwrap_or_default(),
        }
    }

    fn none(error: &ureq::Error) -> Self {
        Self {
            status: 0,
            retry_after: None,
            challenge: None,
            kind: String::new(),
            text: error.to_string(),
        }
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The fields of a problem, in order.
    pub(crate) fn fields(&self) -> Vec<String> {
        assert_eq!(self.kind, "application/problem+json", "{}", self.text);
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        errors
            .iter()
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    }
}
