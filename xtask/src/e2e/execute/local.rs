//! Processes of this machine: the services, and the servers that replace components and cluster.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use subprocess::Record;

use super::{RunContext, StepContext, StepOutcome, wait_until};
use crate::{
    command::Command,
    doctor,
    e2e::{hash, provider::Local},
    run_folder::ProviderName,
    stack::Embedded,
    workload::GRACE,
};

/// Environment variable with the checksum of a process's program, arguments and configuration.
const STARTED_AS: &str = "E2E_STARTED_AS";

/// Lines of a process's log in a message.
const LAST_LINES: usize = 20;

/// Checks that the embedded servers are available.
pub(super) fn preflight(local: &Local) -> anyhow::Result<StepOutcome> {
    if let Some(program) = &local.kube_embedded {
        ensure!(
            program.is_file(),
            "the embedded Kubernetes API is not installed: {} does not exist; install it from the sources of this \
             program (cargo install --path crates/kube-embedded), or set KUBE_EMBEDDED_BIN to its path",
            program.display()
        );
    }
    let support = doctor::provider_support(ProviderName::Local, None);
    ensure!(
        support.works(),
        "provider local cannot run on this machine: {}",
        support.why_not()
    );
    Ok(StepOutcome::Done)
}

impl RunContext<'_> {
    /// Starts a process that runs until teardown. A running one with the same program, arguments and configuration is
    /// left alone.
    pub(super) fn start(&self, name: &str, command: &Command) -> anyhow::Result<StepOutcome> {
        let record = self.folder.process(name);
        let filled = command
            .clone()
            .env(STARTED_AS, checksum(command)?)
            .filled(|text| self.fill(text));
        if let Ok(old) = Record::read(&record) {
            let is_unchanged = |(name, value): (&OsStr, Option<&OsStr>)| {
                let recorded = name.to_str().and_then(|name| old.env.get(name));
                recorded.cloned().flatten().as_deref() == value.and_then(OsStr::to_str)
            };
            if old.is_alive() && filled.get_envs().all(is_unchanged) {
                return Ok(StepOutcome::Skipped("already running, unchanged".to_owned()));
            }
            old.stop(GRACE)?;
        }
        fs::create_dir_all(self.folder.path().join("data").join(name))?;
        let child = subprocess::Command::new(filled)
            .name(name)
            .log(self.folder.log(name))
            .record(&record)
            .spawn()?;
        // Kept until it is ready, for the failure of one that exits before.
        self.starting().insert(name.to_owned(), child);
        Ok(StepOutcome::Done)
    }

    /// Waits until a process accepts connections on its ports.
    pub(super) fn wait_ports(&self, step: &StepContext<'_>, name: &str, ports: &[u16]) -> anyhow::Result<()> {
        let what = format!("{name} to listen on {ports:?} of 127.0.0.1");
        let waited = wait_until(step, &what, Duration::from_millis(50), || {
            self.check_alive(name)?;
            let closed = ports
                .iter()
                .find_map(|port| Some((port, TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).err()?)));
            Ok(closed.map_or(Ok(()), |(port, error)| Err(format!("port {port}: {error}"))))
        });
        waited.map_err(|error| self.with_process_log(name, error))
    }

    /// Starts the embedded server of a component, with user, database and passwords of the component's URLs in the
    /// stack file.
    pub(super) fn start_embedded(&self, name: &str) -> anyhow::Result<StepOutcome> {
        let record = self.folder.process(name);
        if Record::read(&record).is_ok_and(|record| record.is_alive()) {
            return Ok(StepOutcome::Skipped("already running".to_owned()));
        }
        let components = &self.settings.stack.components;
        let component = components
            .get(name)
            .with_context(|| format!("unknown component {name}"))?;
        let Some(kind) = component.embedded.as_ref().map(|kind| *kind.get_ref()) else {
            bail!("component {name} needs a cluster: it has no `embedded` in the stack file");
        };
        let urls: Vec<Credentials> = self
            .component_urls(name)?
            .values()
            .filter_map(|url| credentials(url))
            .collect();
        let port = urls.first().map(|url| url.port);
        let port = port.with_context(|| format!("component {name} has no `urls`"))?;
        let (folder, log) = (self.folder.path(), self.folder.log(name));
        match kind {
            Embedded::Postgresql => {
                let mut server = embedded::Postgres::builder()
                    .port(port)
                    .record(record)
                    .log(log)
                    .belongs_to(folder);
                for Credentials {
                    user, password, path, ..
                } in urls
                {
                    server = match user.as_str() {
                        "postgres" => server.superuser_password(password),
                        _ => server.user(user).password(password).database(path),
                    };
                }
                server.start()?.keep();
            }
            Embedded::Redis => {
                let mut server = embedded::Redis::builder()
                    .port(port)
                    .record(record)
                    .log(log)
                    .belongs_to(folder);
                // As in the pods: acknowledged data is on disk.
                server = server.setting("appendfsync", "always");
                for Credentials { password, .. } in urls {
                    server = server.password(password);
                }
                server.start()?.keep();
            }
        }
        Ok(StepOutcome::Done)
    }

    /// Fails if a process of this name exited. In a cluster there is none.
    pub(super) fn check_alive(&self, name: &str) -> anyhow::Result<()> {
        let failure = |child: &mut subprocess::Child| {
            (!child.is_running()).then(|| child.failure(subprocess::Outcome::Stopped))
        };
        if let Some(failure) = self.starting().get_mut(name).and_then(failure) {
            return Err(anyhow!("{name} exited unexpectedly\n{failure}"));
        }
        match Record::read(&self.folder.process(name)) {
            Ok(record) if !record.is_alive() => Err(anyhow!("{name} exited unexpectedly")),
            _ => Ok(()),
        }
    }

    /// Lets a process run on its own, once the wait for it is over.
    pub(super) fn detach(&self, name: &str) {
        if let Some(child) = self.starting().remove(name) {
            child.detach();
        }
    }

    fn starting(&self) -> MutexGuard<'_, BTreeMap<String, subprocess::Child>> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the last lines of a process's log to an error about the process.
    pub(super) fn with_process_log(&self, name: &str, error: anyhow::Error) -> anyhow::Error {
        let exited = |child: &subprocess::Child| !child.is_running();
        if self.starting().get(name).is_some_and(exited) {
            // Its failure contains them.
            return error;
        }
        let Ok(record) = Record::read(&self.folder.process(name)) else {
            return error;
        };
        let Some(log) = record.log else { return error };
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n    ");
        anyhow!(
            "{error:#}\n  last lines of {name}:\n    {last}\n  whole log: {}",
            log.display()
        )
    }
}

/// Returns the hash of a program, its arguments and the configuration files among them.
fn checksum(command: &Command) -> anyhow::Result<String> {
    let files = command
        .args
        .iter()
        .map(Path::new)
        .filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let files: Vec<&Path> = [Path::new(&command.program)].into_iter().chain(files).collect();
    hash::short_of(&files, &command.args)
}

/// The URL of a component, without scheme and host.
#[derive(Debug, PartialEq, Eq)]
struct Credentials {
    user: String,
    password: String,
    port: u16,
    path: String,
}

/// Parses `scheme://USER:PASSWORD@HOST:PORT/PATH`; the secrets of a run need no decoding.
fn credentials(url: &str) -> Option<Credentials> {
    let (_, rest) = url.split_once("://")?;
    let (login, rest) = rest.split_once('@')?;
    let (user, password) = login.split_once(':')?;
    let (authority, path) = rest.split_once('/')?;
    let port = authority.rsplit_once(':')?.1.parse().ok()?;
    Some(Credentials {
        user: user.to_owned(),
        password: password.to_owned(),
        port,
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_user_password_port_and_database_of_a_url() {
        let Credentials {
            user,
            password,
            port,
            path,
        } = credentials("postgres://kubernaut:00ff@127.0.0.1:15432/audit").unwrap();
        assert_eq!(
            (user.as_str(), password.as_str(), port, path.as_str()),
            ("kubernaut", "00ff", 15432, "audit")
        );
        assert_eq!(
            credentials("redis://:00ff@127.0.0.1:16379/0").unwrap().password,
            "00ff"
        );
        assert_eq!(credentials("http://127.0.0.1:8080/"), None);
    }
}
