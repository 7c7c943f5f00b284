//! A DataStorage with its own PostgreSQL database and Redis, as the tests see it: over HTTP, SQL and processes.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use embedded::{Postgres, Redis};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;
use uuid::Uuid;

pub(crate) const EVENTS: &str = "/api/v1/audit/events";

/// Servers that a test has for itself, because it breaks them.
pub(crate) struct Servers {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) redis: Redis,
    pub(crate) database: String,
    runtime: Runtime,
}

impl Servers {
    /// The PostgreSQL that all tests share, with a database of this test's own.
    pub(crate) fn shared() -> Self {
        Self::with(Postgres::shared().expect("PostgreSQL starts"))
    }

    /// A PostgreSQL of this test's own, whose commits are on disk.
    pub(crate) fn own() -> Self {
        Self::with(Arc::new(Postgres::start().expect("PostgreSQL starts")))
    }

    fn with(postgres: Arc<Postgres>) -> Self {
        let redis = Redis::start().expect("Redis starts");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let database = format!("d{}", Uuid::new_v4().simple());
        let servers = Self {
            postgres,
            redis,
            database,
            runtime,
        };
        let role = servers.postgres.url();
        let owner = login(&role).0;
        servers.sql_at(
            &servers.postgres.superuser_url(),
            &format!("CREATE DATABASE {} OWNER {owner}", servers.database),
        );
        servers
    }

    /// Runs SQL as the superuser of the test's database; the rows, each a list of texts.
    pub(crate) fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.sql_at(&self.superuser_url(), sql)
    }

    /// Runs SQL as the service's own role, which must fail; its message.
    pub(crate) fn refused_sql(&self, sql: &str) -> String {
        let url = in_database(&self.postgres.url(), &self.database);
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let error = client
                .batch_execute(sql)
                .await
                .expect_err("the database refuses it");
            error
                .as_db_error()
                .expect("an error of the database")
                .message()
                .to_owned()
        })
    }

    /// Runs SQL as the superuser in a transaction that stays open, with its locks, until what is returned is dropped.
    pub(crate) fn hold(&self, sql: &str) -> tokio_postgres::Client {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.superuser_url(), NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client.batch_execute(&format!("BEGIN; {sql}")).await.unwrap();
            client
        })
    }

    /// One number.
    pub(crate) fn count(&self, sql: &str) -> i64 {
        self.sql(sql)[0][0].as_deref().unwrap().parse().unwrap()
    }

    pub(crate) fn superuser_url(&self) -> String {
        in_database(&self.postgres.superuser_url(), &self.database)
    }

    fn sql_at(&self, url: &str, sql: &str) -> Vec<Vec<Option<String>>> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let mut rows = Vec::new();
            for message in client
                .simple_query(sql)
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            {
                if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                    rows.push(
                        (0..row.len())
                            .map(|index| row.get(index).map(str::to_owned))
                            .collect(),
                    );
                }
            }
            rows
        })
    }

    /// Runs a command of Redis.
    pub(crate) fn redis<T: redis::FromRedisValue>(&self, arguments: &[&str]) -> T {
        self.runtime.block_on(async {
            let client = redis::Client::open(self.redis.url()).unwrap();
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let mut command = redis::cmd(arguments[0]);
            for argument in &arguments[1..] {
                command.arg(argument);
            }
            command.query_async(&mut connection).await.unwrap()
        })
    }

    /// Entries that wait in the events' stream.
    pub(crate) fn waiting(&self) -> u64 {
        self.redis(&["XLEN", "audit:dlq:events"])
    }
}

/// User and password of a URL.
fn login(url: &str) -> (String, String) {
    let rest = url.split_once("://").unwrap().1;
    let (login, _) = rest.split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    (user.to_owned(), password.to_owned())
}

fn in_database(url: &str, database: &str) -> String {
    format!("{}/{database}", url.rsplit_once('/').unwrap().0)
}

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
    /// On shared servers, its schema current.
    pub(crate) fn start() -> Self {
        Self::start_with(Arc::new(Servers::shared()), "")
    }

    /// On these servers, with more configuration.
    pub(crate) fn start_with(servers: Arc<Servers>, more: &str) -> Self {
        let folder = configured(&servers, more);
        let migrated = run(&folder, &["migrate"], &[]);
        assert!(migrated.status.success(), "{}", text(&migrated));
        Self::serve(servers, folder)
    }

    /// On these servers, with lines in the section of PostgreSQL and other configuration.
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

    /// Starts the program in a folder with a configuration.
    pub(crate) fn serve(servers: Arc<Servers>, folder: TempDir) -> Self {
        let ports = free_ports();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(folder.path().join("log"))
            .unwrap();
        let child = command(&folder, &["serve"], &[], &ports)
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
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut service = Self {
            servers,
            folder,
            child,
            api: url(ports[0]),
            health: url(ports[1]),
            metrics: url(ports[2]),
            agent,
        };
        service.wait_until_ready();
        service
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the service ended with {status}:\n{}", self.log());
            }
            let ready = self
                .agent
                .get(format!("{}/readyz", self.health))
                .call()
                .is_ok_and(|answer| answer.status() == 200);
            if ready {
                return;
            }
            assert!(Instant::now() < deadline, "not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
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

    /// Stops it as a pod is stopped; how it ended.
    pub(crate) fn stop(mut self) -> (std::process::ExitStatus, Arc<Servers>, String) {
        signal(&self.child, "TERM");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, Arc::clone(&self.servers), self.log());
            }
            assert!(
                Instant::now() < deadline,
                "it did not end within 30 s:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends a request; status and body.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
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
                    .body(body.to_string())
                    .unwrap();
                self.agent.run(request)
            }
            None => self.agent.run(request.body(()).unwrap()),
        };
        match result {
            Ok(mut response) => Answer {
                status: response.status().as_u16(),
                retry_after: response
                    .headers()
                    .get("retry-after")
                    .map(|value| value.to_str().unwrap().to_owned()),
                kind: response
                    .headers()
                    .get("content-type")
                    .map(|value| value.to_str().unwrap().to_owned())
                    .unwrap_or_default(),
                text: response
                    .body_mut()
                    .with_config()
                    .limit(1 << 30)
                    .read_to_string()
                    .unwrap_or_default(),
            },
            Err(error) => Answer {
                status: 0,
                retry_after: None,
                kind: String::new(),
                text: error.to_string(),
            },
        }
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
        let answer = self.get(&format!("{EVENTS}?correlation_id={correlation}&limit=1000"));
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["data"].as_array().unwrap().clone()
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

    /// The value of a metric with these labels; 0 if it is not there.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let text = self
            .agent
            .get(format!("{}/metrics", self.metrics))
            .call()
            .unwrap()
            .body_mut()
            .read_to_string();
        let text = text.unwrap();
        text.lines()
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

pub(crate) struct Answer {
    /// 0 if there was none.
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) kind: String,
    pub(crate) text: String,
}

impl Answer {
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

fn command(folder: &TempDir, verbs: &[&str], rest: &[&str], ports: &[u16; 3]) -> Command {
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

pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Ports that nobody has at the moment.
pub(crate) fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(status.success());
}

/// Waits until a condition holds; `what` and the last state seen are in the failure.
pub(crate) fn until<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match look() {
            Ok(value) => return value,
            Err(state) => assert!(
                Instant::now() < deadline,
                "{what}: not within {seconds} s; last seen: {state}"
            ),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A valid event with every field.
pub(crate) fn event(correlation: &str) -> Value {
    json!({
        "event_id": Uuid::now_v7(), "version": "1.0", "event_type": "gateway.signal.received",
        "event_timestamp": jiff::Timestamp::now().to_string(), "event_category": "gateway",
        "event_action": "received", "event_outcome": "success", "correlation_id": correlation,
        "event_data": {"alert": "HighMemoryUsage", "count": 1, "ratio": 0.5, "whole": 2.0, "nested": {"a": [true, null]}},
        "actor_type": "service", "actor_id": "gateway", "resource_type": "Pod", "resource_id": "payment-api-789",
        "namespace": "prod", "cluster_name": "main", "severity": "critical", "duration_ms": 12,
        "error_code": "E1", "error_message": "none", "retention_days": 30,
    })
}

/// A name that no other test has.
pub(crate) fn name(prefix: &str) -> String {
    format!("{prefix}-{}", Uuid::new_v4().simple())
}
