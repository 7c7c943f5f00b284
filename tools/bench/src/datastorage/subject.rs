//! The measured service with its own PostgreSQL and Redis, and the programs that load them.

use std::fs;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use embedded::{Postgres, Redis};
use subprocess::Child;

use super::record::{Load, Measured};
use super::{Options, sql};
use crate::children;
use crate::figures::{describe, median, take_median, today};
use crate::workspace;
use subprocess::{eprint_line, free_port, proc};

/// Rates of the service and of pgbench in each round, and the load of the service's median round.
pub(super) struct Pair {
    pub(super) service: Vec<f64>,
    pub(super) database: Vec<f64>,
    pub(super) load: Load,
}

/// Measured and measuring programs; ours are built with optimization.
pub(super) struct Programs {
    service: PathBuf,
    load: PathBuf,
    pgbench: PathBuf,
    psql: PathBuf,
}

impl Programs {
    pub(super) fn build() -> anyhow::Result<Self> {
        let pgbench = client_program("pgbench")?;
        let psql = client_program("psql")?;
        let service = workspace::build_one(&["--release", "--package=datastorage", "--bin=datastorage"])?;
        let load = workspace::build_one(&["--release", "--package=datastorage", "--example=load"])?;
        Ok(Self {
            service,
            load,
            pgbench,
            psql,
        })
    }
}

fn client_program(name: &str) -> anyhow::Result<PathBuf> {
    which::which(name).with_context(|| {
        format!("{name} is not installed; it comes with PostgreSQL (apt-get install postgresql, dnf install postgresql-contrib)")
    })
}

pub(super) struct Subject<'a> {
    programs: &'a Programs,
    seconds: u64,
    folder: tempfile::TempDir,
    configuration: Configuration,
    // Dropped in this order.
    service: Option<Child>,
    postgres: Postgres,
    _redis: Redis,
}

impl<'a> Subject<'a> {
    pub(super) fn start(programs: &'a Programs, seconds: u64) -> anyhow::Result<Self> {
        Self::start_with(programs, seconds, "")
    }

    /// Starts everything, with additional configuration of the service.
    pub(super) fn start_with(programs: &'a Programs, seconds: u64, more: &str) -> anyhow::Result<Self> {
        let postgres = Postgres::builder()
            .setting("max_connections", "400")
            .setting("shared_buffers", "256MB")
            .setting("max_wal_size", "4GB")
            .start()?;
        let redis = Redis::start()?;
        let folder = tempfile::tempdir()?;
        let configuration = Configuration::write(folder.path(), &postgres, &redis, more)?;
        let mut migrate = Command::new(&programs.service);
        migrate.arg("migrate").arg("--config").arg(&configuration.file);
        children::capture(migrate, Duration::from_secs(60))?;
        let mut subject = Self {
            programs,
            seconds,
            folder,
            configuration,
            service: None,
            postgres,
            _redis: redis,
        };
        subject.restart()?;
        Ok(subject)
    }

    /// Restarts the service; returns the milliseconds until it is ready.
    pub(super) fn restart(&mut self) -> anyhow::Result<f64> {
        self.stop()?;
        let begin = Instant::now();
        let mut serve = Command::new(&self.programs.service);
        serve.arg("serve").arg("--config").arg(&self.configuration.file);
        let log = self.file("service.log");
        self.service = Some(subprocess::Command::new(serve).log(log).spawn()?);
        wait_until_ready(&self.configuration.health, begin)
    }

    /// Stops the service as Kubernetes stops a pod.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(service) = self.service.take() {
            service.terminate(Duration::from_secs(30));
        }
        Ok(())
    }

    /// Returns a part's record without figures.
    pub(super) fn part(&self, options: &Options) -> Measured {
        Measured {
            day: today(),
            machine: describe(&report::Machine::this()),
            postgresql: self.postgres.programs().version.clone(),
            command: format!(
                "--seconds {} --rounds {} --rows {}",
                options.seconds,
                options.rounds,
                options
                    .rows
                    .iter()
                    .map(u64::to_string)
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            figures: Vec::new(),
            latencies: Vec::new(),
            curve: Vec::new(),
        }
    }

    pub(super) fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// Returns the path of a file in the temporary folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Measures the service and pgbench alternately, so that both meet the same disturbances. `rows` is the number of
    /// rows per transaction of the script.
    pub(super) fn pair(
        &self,
        what: &str,
        rounds: usize,
        connections: usize,
        load: &[&str],
        script: &str,
        rows: f64,
    ) -> anyhow::Result<Pair> {
        let (mut loads, mut database) = (Vec::new(), Vec::new());
        for _ in 0..rounds.max(1) {
            let load = self.load(connections, self.seconds, load)?;
            load.check()?;
            loads.push(load);
            database.push(self.pgbench(connections, script)? * rows);
        }
        let service: Vec<f64> = loads.iter().map(|load| load.per_second).collect();
        eprint_line(format!(
            "{what}: {:.0}, reference {:.0}",
            median(&service),
            median(&database)
        ));
        let load = take_median(&mut loads, |load| load.per_second).context("no round was measured")?;
        Ok(Pair {
            service,
            database,
            load,
        })
    }

    /// Runs the load program.
    pub(super) fn load(&self, connections: usize, seconds: u64, arguments: &[&str]) -> anyhow::Result<Load> {
        let mut load = Command::new(&self.programs.load);
        load.args(["--address", &self.configuration.api])
            .args(["--connections", &connections.to_string()])
            .args(["--seconds", &seconds.to_string()])
            .args(arguments);
        let output = children::capture(load, Duration::from_secs(seconds + 60))?;
        serde_json::from_slice(&output.stdout).context("cannot read the output of the load program")
    }

    /// Returns the transactions per second of a script.
    fn pgbench(&self, clients: usize, script: &str) -> anyhow::Result<f64> {
        let file = self.file("pgbench.sql");
        fs::write(&file, script)?;
        let mut pgbench = Command::new(&self.programs.pgbench);
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--jobs=2"]);
        pgbench
            .arg(format!("--client={clients}"))
            .arg(format!("--time={}", self.seconds))
            .arg("--file")
            .arg(&file)
            .arg(self.postgres.superuser_url());
        let text = children::capture(pgbench, Duration::from_secs(self.seconds + 60))?.text();
        let rate = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.with_context(|| format!("pgbench printed no rate:\n{text}"))
    }

    /// Returns the rows per second of COPY from a file with rows of the table.
    pub(super) fn copy(&self) -> anyhow::Result<f64> {
        let file = self.file("rows");
        let rows: u64 = 50_000;
        let copied = self.run_sql(&format!(
            "{}\nSELECT count(*) FROM copied;\n",
            sql::copy_out(rows, &file)
        ))?;
        let rows: f64 = copied.trim().parse().context("psql printed no number of rows")?;
        let begin = Instant::now();
        self.run_sql(&format!("\\copy audit_events FROM '{}'\n", file.display()))?;
        Ok(rows / begin.elapsed().as_secs_f64())
    }

    /// Fills the table up to this number of rows.
    pub(super) fn fill(&self, rows: u64) -> anyhow::Result<()> {
        eprint_line(format!("filling the table up to {rows} rows"));
        self.run_sql(&sql::fill(rows)).map(drop)
    }

    /// Returns how many of the ids in these files no row has.
    pub(super) fn missing(&self, ids: &[&Path]) -> anyhow::Result<u64> {
        let text = self.run_sql(&sql::missing(ids))?;
        text.trim().parse().context("psql printed no number")
    }

    /// Returns the number of duplicate rows of the correlations with this prefix.
    pub(super) fn duplicates(&self, prefix: &str) -> anyhow::Result<u64> {
        let text = self.run_sql(&sql::duplicates(prefix))?;
        text.trim().parse().context("psql printed no number")
    }

    fn run_sql(&self, text: &str) -> anyhow::Result<String> {
        let mut psql = Command::new(&self.programs.psql);
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            "--dbname",
            &self.postgres.superuser_url(),
        ]);
        Ok(children::pipe(psql, text, Duration::from_secs(3600))?.text())
    }

    /// Returns the resident memory of the service in MiB: `VmRSS` now, or `VmHWM` at its peak.
    pub(super) fn memory_mib(&self, field: &str) -> anyhow::Result<f64> {
        let pid = self.service.as_ref().context("the service is stopped")?.pid();
        let bytes = proc::field(format!("{pid}/status"), field);
        let bytes = bytes.with_context(|| format!("cannot read {field} of process {pid}"))?;
        Ok(bytes as f64 / f64::from(1 << 20))
    }
}

struct Configuration {
    file: PathBuf,
    api: String,
    health: String,
}

impl Configuration {
    fn write(folder: &Path, postgres: &Postgres, redis: &Redis, more: &str) -> anyhow::Result<Self> {
        let address = || free_port().map(|port| format!("127.0.0.1:{port}"));
        let (api, health, metrics) = (address()?, address()?, address()?);
        let url = postgres.url();
        let (user, postgresql_password) = login(&url).context("the URL of PostgreSQL has no password")?;
        let redis_url = redis.url();
        let (_, redis_password) = login(&redis_url).context("the URL of Redis has no password")?;
        let database = url.rsplit_once('/').map_or("", |(_, database)| database);
        fs::write(folder.join("postgresql"), postgresql_password)?;
        fs::write(folder.join("redis"), redis_password)?;
        let shown = folder.display();
        let text = format!(
            "environment = 'test'\n[log]\nfilter = 'info,access=warn'\n[http]\napi = '{api}'\nhealth = '{health}'\n\
             metrics = '{metrics}'\n[stop]\nannounce_ms = 0\n[postgresql]\naddress = '127.0.0.1:{}'\n\
             database = '{database}'\nuser = '{user}'\npassword_file = '{shown}/postgresql'\n[redis]\n\
             address = '127.0.0.1:{}'\npassword_file = '{shown}/redis'\n{more}",
            postgres.port(),
            redis.port()
        );
        let file = folder.join("config.toml");
        fs::write(&file, text)?;
        Ok(Self { file, api, health })
    }
}

/// Returns user and password of a URL.
fn login(url: &str) -> Option<(&str, &str)> {
    let (_, rest) = url.split_once("://")?;
    let (login, _) = rest.split_once('@')?;
    login.split_once(':')
}

/// Waits until the service is ready; returns the milliseconds since its start.
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
            "timed out after {limit:?} waiting for the service to be ready; last error: {last}"
        );
        children::sleep(Duration::from_millis(2))?;
    }
}
