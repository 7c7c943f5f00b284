//! What is measured: the service on a PostgreSQL and a Redis of its own, and the programs that load both.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use embedded::{Postgres, Redis};
use serde::Deserialize;
use subprocess::{Cancel, Child, Command};

use super::{Pair, sql};

/// What the load program says.
#[derive(Clone, Deserialize)]
pub(super) struct Load {
    pub(super) per_second: f64,
    pub(super) failed: u64,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

pub(super) struct Subject {
    pub(super) ready_ms: f64,
    seconds: u64,
    folder: tempfile::TempDir,
    load_program: PathBuf,
    pgbench: PathBuf,
    psql: PathBuf,
    api: String,
    // Ended in this order.
    service: Child,
    postgres: Postgres,
    _redis: Redis,
}

impl Subject {
    /// Builds everything with optimisation, and starts it.
    pub(super) fn start(seconds: u64) -> anyhow::Result<Self> {
        let pgbench = client_program("pgbench")?;
        let psql = client_program("psql")?;
        let programs = build()?;
        let postgres = Postgres::builder()
            .setting("max_connections", "400")
            .setting("shared_buffers", "256MB")
            .setting("max_wal_size", "4GB")
            .start()?;
        let redis = Redis::start()?;
        let folder = tempfile::tempdir()?;
        let config = configuration(folder.path(), &postgres, &redis)?;
        let program = programs.join("datastorage");
        let mut migrate = process::Command::new(&program);
        migrate.arg("migrate").arg("--config").arg(&config.file);
        Command::new(migrate)
            .deadline(Duration::from_secs(60))
            .run(&Cancel::never())?;
        let begin = Instant::now();
        let mut serve = process::Command::new(&program);
        serve.arg("serve").arg("--config").arg(&config.file);
        let service = Command::new(serve)
            .log(folder.path().join("service.log"))
            .spawn()?;
        let ready_ms = wait_until_ready(&config.health, begin)?;
        Ok(Self {
            ready_ms,
            seconds,
            load_program: programs.join("examples/load"),
            pgbench,
            psql,
            api: config.api,
            folder,
            service,
            postgres,
            _redis: redis,
        })
    }

    pub(super) fn version(&self) -> &str {
        &self.postgres.programs().version
    }

    /// Measures the service and pgbench in turn, so that both meet the same disturbances; medians, and the load of the
    /// median.
    #[allow(
        clippy::too_many_arguments,
        reason = "one line of the table, and both sides of it"
    )]
    pub(super) fn pair(
        &self,
        what: String,
        rounds: usize,
        limit: Option<f64>,
        connections: usize,
        load: &[&str],
        script: &str,
        rows: f64,
    ) -> anyhow::Result<(Pair, Load)> {
        let (mut loads, mut rates) = (Vec::new(), Vec::new());
        for _ in 0..rounds.max(1) {
            loads.push(self.load(connections, load)?);
            rates.push(self.pgbench(connections, script)? * rows);
        }
        loads.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
        rates.sort_by(f64::total_cmp);
        let load = loads.swap_remove(loads.len() / 2);
        let pair = Pair {
            what,
            service: load.per_second,
            database: rates[rates.len() / 2],
            limit,
        };
        eprintln!("{}: {:.0} against {:.0}", pair.what, pair.service, pair.database);
        Ok((pair, load))
    }

    /// Loads the service.
    pub(super) fn load(&self, connections: usize, arguments: &[&str]) -> anyhow::Result<Load> {
        let mut load = process::Command::new(&self.load_program);
        load.args(["--address", &self.api, "--connections", &connections.to_string()]);
        load.args(["--seconds", &self.seconds.to_string()])
            .args(arguments);
        let limit = Duration::from_secs(self.seconds + 60);
        let output = Command::new(load).deadline(limit).capture(&Cancel::never())?;
        let load: Load =
            serde_json::from_slice(&output.stdout).context("the load program's answer is not JSON")?;
        ensure!(
            load.failed == 0,
            "{} requests failed; the service's log: {}",
            load.failed,
            self.log().display()
        );
        Ok(load)
    }

    /// Transactions a second of a script.
    fn pgbench(&self, clients: usize, script: &str) -> anyhow::Result<f64> {
        let file = self.folder.path().join("pgbench.sql");
        fs::write(&file, script)?;
        let mut pgbench = process::Command::new(&self.pgbench);
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--jobs=2"]);
        pgbench
            .arg(format!("--client={clients}"))
            .arg(format!("--time={}", self.seconds));
        pgbench
            .arg("--file")
            .arg(&file)
            .arg(self.postgres.superuser_url());
        let limit = Duration::from_secs(self.seconds + 60);
        let output = Command::new(pgbench).deadline(limit).capture(&Cancel::never())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.with_context(|| format!("pgbench says no rate:\n{text}"))
    }

    /// Rows a second of COPY, out of a file that holds rows of the table.
    pub(super) fn copy(&self) -> anyhow::Result<f64> {
        let file = self.folder.path().join("rows");
        let shown = file.display();
        // Under other ids, so that they fit beside those that are there.
        let rows: u64 = 50_000;
        self.run_sql(&format!(
            "\\copy (SELECT (gen_random_uuid()) AS event_id, event_timestamp, version, event_type, event_category, \
             event_action, event_outcome, correlation_id, event_data, actor_type, actor_id, resource_type, resource_id, \
             parent_event_id, namespace, cluster_name, severity, duration_ms, error_code, error_message, retention_days, \
             sequence, recorded_at, previous_hash, event_hash, chain_key FROM audit_events LIMIT {rows}) TO '{shown}'\n"
        ))?;
        let begin = Instant::now();
        self.run_sql(&format!("\\copy audit_events FROM '{shown}'\n"))?;
        Ok(rows as f64 / begin.elapsed().as_secs_f64())
    }

    /// Fills the table up to so many rows.
    pub(super) fn fill(&self, rows: u64) -> anyhow::Result<()> {
        eprintln!("filling the table up to {rows} rows");
        self.run_sql(&sql::fill(rows))
    }

    fn run_sql(&self, text: &str) -> anyhow::Result<()> {
        let mut psql = process::Command::new(&self.psql);
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--dbname",
            &self.postgres.superuser_url(),
        ]);
        Command::new(psql)
            .input(text.as_bytes())
            .deadline(Duration::from_secs(3600))
            .run(&Cancel::never())?;
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("service.log")
    }

    /// Resident memory of the service.
    pub(super) fn memory_mib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.service.pid()))?;
        let kib: f64 = status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .trim()
                    .trim_end_matches(" kB")
                    .parse()
                    .ok()
            })
            .context("no VmRSS")?;
        Ok(kib / 1024.0)
    }
}

fn client_program(name: &str) -> anyhow::Result<PathBuf> {
    which::which(name).with_context(|| {
        format!("{name} is not installed; it comes with PostgreSQL (apt-get install postgresql, dnf install postgresql-contrib)")
    })
}

/// Builds the service and the load program; the folder they are in.
fn build() -> anyhow::Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let mut cargo = process::Command::new("cargo");
    cargo.args([
        "build",
        "--release",
        "--package=datastorage",
        "--bin=datastorage",
        "--example=load",
    ]);
    cargo.current_dir(&workspace);
    Command::new(cargo)
        .name("build the service")
        .deadline(Duration::from_secs(3600))
        .run(&Cancel::never())?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    Ok(target.join("release"))
}

struct Configuration {
    file: PathBuf,
    api: String,
    health: String,
}

fn configuration(folder: &Path, postgres: &Postgres, redis: &Redis) -> anyhow::Result<Configuration> {
    let [api, health, metrics] = free_addresses()?;
    let password = |url: &str| {
        url.split_once("://")
            .and_then(|(_, rest)| rest.split_once('@'))
            .and_then(|(login, _)| {
                let (user, password) = login.split_once(':')?;
                Some((user.to_owned(), password.to_owned()))
            })
    };
    let (user, postgresql_password) =
        password(&postgres.url()).context("PostgreSQL's URL has no password")?;
    let (_, redis_password) = password(&redis.url()).context("Redis' URL has no password")?;
    let database = postgres
        .url()
        .rsplit_once('/')
        .map(|(_, database)| database.to_owned())
        .unwrap_or_default();
    fs::write(folder.join("postgresql"), postgresql_password)?;
    fs::write(folder.join("redis"), redis_password)?;
    let shown = folder.display();
    let text = format!(
        "environment = 'test'\n[log]\nfilter = 'info,access=warn'\n[http]\napi = '{api}'\nhealth = '{health}'\n\
         metrics = '{metrics}'\nannounce_ms = 0\n[postgresql]\naddress = '127.0.0.1:{}'\ndatabase = '{database}'\n\
         user = '{user}'\npassword_file = '{shown}/postgresql'\n[redis]\naddress = '127.0.0.1:{}'\n\
         password_file = '{shown}/redis'\n",
        postgres.port(),
        redis.port()
    );
    let file = folder.join("config.toml");
    fs::write(&file, text)?;
    Ok(Configuration { file, api, health })
}

fn free_addresses() -> anyhow::Result<[String; 3]> {
    let listeners = [
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    ];
    let mut addresses = listeners
        .iter()
        .map(|listener| listener.local_addr().map(|address| address.to_string()));
    let mut next = || {
        addresses
            .next()
            .context("three listeners")
            .and_then(|address| Ok(address?))
    };
    Ok([next()?, next()?, next()?])
}

/// Milliseconds from its start until it says that it is ready.
fn wait_until_ready(health: &str, begin: Instant) -> anyhow::Result<f64> {
    let url = format!("http://{health}/readyz");
    let limit = Duration::from_secs(30);
    loop {
        let last = match ureq::get(&url).call() {
            Ok(_) => return Ok(begin.elapsed().as_secs_f64() * 1000.0),
            Err(error) => error.to_string(),
        };
        ensure!(
            begin.elapsed() < limit,
            "the service is not ready within {limit:?}; last: {last}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}
