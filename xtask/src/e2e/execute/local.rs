//! Processes of this machine: the services, and what stands for components and cluster.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use subprocess::Record;

use super::{Did, Place, World, wait_until};
use crate::{command::Command, e2e::hash, parts::GRACE, stack::Embedded};

/// In a process's environment: what tells whether it would be started the same way again.
const STARTED_AS: &str = "E2E_STARTED_AS";

/// Lines of a process's log in a message.
const LAST_LINES: usize = 20;

impl World<'_> {
    /// Starts a program that goes on until the run is torn down, or longer. One that runs already, with the same
    /// program, arguments and configuration, is left alone.
    pub(super) fn start(&self, name: &str, command: &Command) -> anyhow::Result<Did> {
        let record = self.folder.process(name);
        let filled = command
            .clone()
            .env(STARTED_AS, checksum(command)?)
            .filled(|text| self.fill(text));
        if let Ok(old) = Record::read(&record) {
            let as_then = |(name, value): (&OsStr, Option<&OsStr>)| {
                let then = name
                    .to_str()
                    .and_then(|name| old.env.get(name))
                    .cloned()
                    .flatten();
                then.as_deref() == value.and_then(OsStr::to_str)
            };
            if old.is_alive() && filled.get_envs().all(as_then) {
                return Ok(Did::Nothing("it runs, and nothing of it changed".to_owned()));
            }
            old.stop(GRACE)?;
        }
        fs::create_dir_all(self.folder.path().join("data").join(name))?;
        let child = subprocess::Command::new(filled)
            .name(name)
            .log(self.folder.log(name))
            .record(&record)
            .spawn()?;
        // Held until it answers: one that ends before tells how.
        self.starting().insert(name.to_owned(), child);
        Ok(Did::Something)
    }

    /// Waits until a process takes connections on its ports.
    pub(super) fn listens(
        &self,
        place: &Place<'_>,
        name: &str,
        ports: &[u16],
        seconds: u64,
    ) -> anyhow::Result<Did> {
        let what = format!("{name} listens on {ports:?} of 127.0.0.1");
        let limit = Duration::from_secs(seconds);
        let listening = wait_until(place.context, &what, limit, Duration::from_millis(50), || {
            self.check_alive(name)?;
            let deaf = ports
                .iter()
                .find_map(|port| Some((port, TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).err()?)));
            Ok(deaf.map_or(Ok(()), |(port, error)| Err(format!("port {port}: {error}"))))
        });
        listening.map_err(|error| self.with_process_log(name, error))?;
        Ok(Did::Something)
    }

    /// Starts the real server that stands for a component, with the user, database and passwords of the URLs that
    /// the stack file gives it.
    pub(super) fn start_embedded(&self, name: &str) -> anyhow::Result<Did> {
        let record = self.folder.process(name);
        if Record::read(&record).is_ok_and(|record| record.is_alive()) {
            return Ok(Did::Nothing("it runs".to_owned()));
        }
        let component = self
            .settings
            .stack
            .components
            .get(name)
            .with_context(|| format!("no component {name}"))?;
        let Some(kind) = component.embedded.as_ref().map(|kind| *kind.get_ref()) else {
            bail!("{name} can run in a cluster only: nothing is `embedded` for it in the stack file");
        };
        let urls: Vec<Credentials> = self
            .component_urls(name)?
            .values()
            .filter_map(|url| credentials(url))
            .collect();
        let port = urls
            .first()
            .map(|url| url.port)
            .with_context(|| format!("{name} has no `urls`"))?;
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
                // As in the pods: what is acknowledged is on disk.
                server = server.setting("appendfsync", "always");
                for Credentials { password, .. } in urls {
                    server = server.password(password);
                }
                server.start()?.keep();
            }
        }
        Ok(Did::Something)
    }

    /// Where services are processes: that this one still runs.
    pub(super) fn check_alive(&self, service: &str) -> anyhow::Result<()> {
        let ended = |child: &mut subprocess::Child| {
            (!child.is_running()).then(|| child.failure(subprocess::Ended::Stopped))
        };
        if let Some(failure) = self.starting().get_mut(service).and_then(ended) {
            return Err(anyhow!("{service} ended by itself\n{failure}"));
        }
        match Record::read(&self.folder.process(service)) {
            Ok(record) if !record.is_alive() => Err(anyhow!("{service} ended by itself")),
            _ => Ok(()),
        }
    }

    /// It answers, or nobody waits for it any more: it goes on by itself.
    pub(super) fn let_go(&self, service: &str) {
        if let Some(child) = self.starting().remove(service) {
            child.detach();
        }
    }

    pub(super) fn starting(&self) -> MutexGuard<'_, BTreeMap<String, subprocess::Child>> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error with the last lines of the process that it is about.
    pub(super) fn with_process_log(&self, service: &str, error: anyhow::Error) -> anyhow::Error {
        if self
            .starting()
            .get(service)
            .is_some_and(|child| !child.is_running())
        {
            // Its failure has them already.
            return error;
        }
        let Ok(record) = Record::read(&self.folder.process(service)) else {
            return error;
        };
        let Some(log) = record.log else { return error };
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n    ");
        anyhow!(
            "{error:#}\n  last lines of {service}:\n    {last}\n  whole log: {}",
            log.display()
        )
    }
}

/// The hash of a program, its arguments and the files that they name.
fn checksum(command: &Command) -> anyhow::Result<String> {
    let files = command
        .args
        .iter()
        .map(Path::new)
        .filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let files: Vec<&Path> = [Path::new(&command.program)].into_iter().chain(files).collect();
    let arguments: Vec<&str> = command.args.iter().map(String::as_str).collect();
    hash::short_of(&files, &arguments)
}

/// What a URL of a component says beside its scheme.
#[derive(Debug, PartialEq, Eq)]
struct Credentials {
    user: String,
    password: String,
    port: u16,
    path: String,
}

/// The parts of `scheme://USER:PASSWORD@HOST:PORT/PATH`; the secrets of a run need no decoding.
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
    fn a_components_url_gives_user_password_port_and_database() {
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
