//! Facts for explanations, collected on the machine and in the run's folder.

use std::{collections::BTreeSet, fs, path::Path};

use taskgraph::Trace;

use super::{Case, Fact, node_cause};
use crate::{
    doctor::listener,
    e2e::{measure::MEMORY, settings::Settings},
    run_folder::RunFolder,
};

const MEBIBYTE: f64 = (1 << 20) as f64;

/// Sources of the facts.
pub(crate) struct Facts<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) folder: &'a RunFolder,
    pub(crate) trace: &'a Trace,
    /// Memory that was available when the run started, for people.
    pub(crate) memory: Option<&'a str>,
}

impl Facts<'_> {
    pub(super) fn collect(&self, fact: Fact, case: &Case<'_>) -> Vec<String> {
        match fact {
            Fact::Memory => self.memory(case.task),
            Fact::Disk => self.disks(),
            Fact::Port => port(case),
            Fact::Node => self.node(),
            Fact::Urls => self.urls(case),
        }
    }

    fn memory(&self, task: &str) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.memory.map(|memory| format!("memory for the run: {memory}")));
        let held = self.trace.task(task).and_then(|task| task.measured.get(MEMORY));
        lines.extend(held.map(|held| format!("peak of the processes of {task}: {:.0} MiB", held / MEBIBYTE)));
        lines
    }

    fn disks(&self) -> Vec<String> {
        let temporary = std::env::temp_dir();
        let folders = [
            self.settings.target.as_path(),
            &temporary,
            Path::new("/var/lib/containers"),
        ];
        let free = |folder: &&Path| {
            let existing = folder.ancestors().find(|folder| folder.exists())?;
            let stat = rustix::fs::statvfs(existing).ok()?;
            let mebibytes = (stat.f_bavail * stat.f_frsize) as f64 / MEBIBYTE;
            Some(format!("{mebibytes:.0} MiB free in {}", folder.display()))
        };
        folders.iter().filter_map(free).collect()
    }

    /// Returns the known cause, or else the last line, of the node's logs that `collect` saved.
    fn node(&self) -> Vec<String> {
        let read = |name: &str| {
            fs::read_to_string(self.folder.path().join("cluster").join(name)).unwrap_or_default()
        };
        for file in ["node.log", "kubelet.log"] {
            if let Some((known, line)) = node_cause(&read(file)) {
                let line: String = line.chars().take(300).collect();
                return vec![
                    format!("{file} of the node: {line}"),
                    format!("meaning: {}; {}", known.cause, known.fix),
                ];
            }
        }
        let node_log = read("node.log");
        let last = node_log.lines().rev().find(|line| !line.trim().is_empty());
        last.map(|line| format!("last line of the node: {}", line.trim()))
            .into_iter()
            .collect()
    }

    /// Returns unreachable addresses in the failures of scenarios that are not in the stack file.
    pub(super) fn foreign_urls(&self, case: &Case<'_>) -> BTreeSet<String> {
        let stack = fs::read_to_string(self.folder.stack_file()).unwrap_or_default();
        let ours: BTreeSet<&str> = authorities(&stack).collect();
        let scenarios = case
            .texts
            .get("scenarios")
            .map(String::as_str)
            .unwrap_or_default();
        scenarios
            .lines()
            .filter(|line| reports_unreachable(line))
            .flat_map(authorities)
            .filter(|authority| !ours.contains(authority))
            .map(str::to_owned)
            .collect()
    }

    fn urls(&self, case: &Case<'_>) -> Vec<String> {
        let foreign: Vec<String> = self.foreign_urls(case).into_iter().collect();
        let ours: Vec<String> = self
            .settings
            .ports
            .iter()
            .flat_map(|(owner, ports)| {
                ports
                    .iter()
                    .map(move |(name, port)| format!("{owner}.{name} 127.0.0.1:{}", port.host))
            })
            .collect();
        vec![
            format!("not in this stack: {}", foreign.join(", ")),
            format!("in this stack: {}", ours.join(", ")),
        ]
    }
}

/// Whether a line of a scenario's failure says that a request did not reach its server.
///
/// Bodies and log lines that the failure includes are a server's own words: an address that responds is intended.
fn reports_unreachable(line: &str) -> bool {
    let line = line.trim_start().to_ascii_lowercase();
    let is_of_client = !line.starts_with(['{', '[', '<']);
    is_of_client
        && [
            "not known",
            "dns error",
            "unreachable",
            "timed out",
            "connection refused",
            "connect error",
            "failed to connect",
            "cannot connect",
            "could not connect",
            "trying to connect",
        ]
        .iter()
        .any(|words| line.contains(words))
}

/// Returns `HOST:PORT` of each URL in a text.
fn authorities(text: &str) -> impl Iterator<Item = &str> {
    text.split("://").skip(1).filter_map(|rest| {
        let end = rest
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || ".:-_@".contains(letter)))
            .unwrap_or(rest.len());
        let authority = rest.get(..end)?.trim_end_matches([':', '.']);
        Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
    })
}

/// Returns the process that uses the port of an "address already in use" message.
fn port(case: &Case<'_>) -> Vec<String> {
    let mut sources = [case.error]
        .into_iter()
        .chain(case.texts.values().map(String::as_str));
    let describe = |port| match listener::owner(port) {
        Some(listener) => format!("port {port} is in use by {listener}"),
        None => format!("port {port} is no longer in use"),
    };
    sources.find_map(port_in_use).map(describe).into_iter().collect()
}

/// Returns the port in use: `HOST:PORT` before the system's message, or `port N` after it, as PostgreSQL prints it in
/// the next line.
fn port_in_use(text: &str) -> Option<u16> {
    const WORDS: &str = "address already in use";
    let folded = text.to_ascii_lowercase();
    folded.match_indices(WORDS).find_map(|(at, _)| {
        let line = folded.get(..at)?.lines().last()?;
        let after = folded.get(at + WORDS.len()..)?.lines().take(2);
        line.split_whitespace()
            .rev()
            .find_map(port_of_address)
            .or_else(|| {
                after
                    .flat_map(|line| line.split("port ").skip(1))
                    .find_map(number)
            })
    })
}

/// Returns the port of `HOST:PORT`, but not of a time of day.
fn port_of_address(word: &str) -> Option<u16> {
    let word = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric() && !"[*".contains(letter));
    let (host, port) = word.rsplit_once(':')?;
    let is_host =
        host.ends_with(']') || host.ends_with("localhost") || host.ends_with('*') || host.contains('.');
    port.parse().ok().filter(|_| is_host)
}

/// Parses the number at the start of a text.
fn number(text: &str) -> Option<u16> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_hosts_with_ports_of_urls() {
        let text = r#"GET http://127.0.0.1:9/readyz: no route; "postgres://u:p@127.0.0.1:15432/audit", see https://a.example."#;
        let found: Vec<_> = authorities(text).collect();
        assert_eq!(found, ["127.0.0.1:9", "127.0.0.1:15432", "a.example"]);
    }

    #[test]
    fn distinguishes_unreached_addresses_from_responses() {
        for (line, unreachable) in [
            (
                "  GET http://127.0.0.1:9/readyz: error sending request: tcp connect error",
                true,
            ),
            ("curl: (7) Failed to connect to 10.0.0.1 port 80", true),
            (
                "http://absent.example/: dns error: Name or service not known",
                true,
            ),
            ("  GET http://127.0.0.1:18090/api/v1/audit/events", false),
            (
                r#"  {"type":"https://a.example/problems/x","detail":"all connections to the database are in use"}"#,
                false,
            ),
            (
                r#"{"level":"WARN","message":"connection refused by https://b.example"}"#,
                false,
            ),
        ] {
            assert_eq!(reports_unreachable(line), unreachable, "{line}");
        }
    }

    #[test]
    fn finds_ports_of_addresses_but_not_of_times() {
        for (text, port) in [
            (
                "api = 127.0.0.1:18080: Address already in use (os error 98)",
                Some(18080),
            ),
            (
                "7:M 24 Nov 01:02:03.004 # listening socket *:6379: bind: Address already in use",
                Some(6379),
            ),
            (
                "rootlessport listen tcp [::]:8080: bind: address already in use",
                Some(8080),
            ),
            (
                "2026-11-24 01:02:03.004 UTC [4] LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use\n\
                 2026-11-24 01:02:03.004 UTC [4] HINT:  Is another postmaster already running on port 5432? If not, wait",
                Some(5432),
            ),
            ("2026-11-24T01:02:03Z address already in use", None),
            ("127.0.0.1:5432 is free", None),
        ] {
            assert_eq!(port_in_use(text), port, "{text}");
        }
    }

    #[test]
    fn names_the_process_that_uses_a_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port_number = listener.local_addr().unwrap().port();
        let error =
            format!("back: cannot listen on 127.0.0.1:{port_number}: Address already in use (os error 98)");
        let case = Case {
            task: "back",
            role: Some("service"),
            error: &error,
            texts: Default::default(),
        };
        let lines = port(&case);
        assert!(
            lines[0].starts_with(&format!("port {port_number} is in use by "))
                && lines[0].ends_with(&format!(" {})", std::process::id())),
            "{lines:?}"
        );
    }
}
