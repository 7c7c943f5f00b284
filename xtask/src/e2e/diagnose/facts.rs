//! What is looked up on the machine and in the run's folder for the message of a failure.

use std::{collections::BTreeSet, fs, path::Path};

use taskgraph::Trace;

use super::{Case, Fact, node_cause};
use crate::{
    doctor::listener,
    e2e::{measure::MEMORY, settings::Settings},
    run_folder::RunFolder,
};

const MEBIBYTE: f64 = (1 << 20) as f64;

/// Where facts are looked up.
pub(crate) struct Facts<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) folder: &'a RunFolder,
    pub(crate) trace: &'a Trace,
    /// How much memory the run began with, in words.
    pub(crate) memory: Option<&'a str>,
}

impl Facts<'_> {
    pub(super) fn look(&self, fact: Fact, case: &Case<'_>) -> Vec<String> {
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
        lines
            .extend(held.map(|held| format!("the programs of {task} held up to {:.0} MiB", held / MEBIBYTE)));
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

    /// What of a node is saved when a run fails.
    fn node(&self) -> Vec<String> {
        let read = |name: &str| {
            fs::read_to_string(self.folder.path().join("cluster").join(name)).unwrap_or_default()
        };
        for file in ["node.log", "kubelet.log"] {
            if let Some((known, line)) = node_cause(&read(file)) {
                let line: String = line.chars().take(300).collect();
                return vec![
                    format!("the node's {file} says: {line}"),
                    format!("that means: {}; {}", known.cause, known.fix),
                ];
            }
        }
        let node_log = read("node.log");
        let last = node_log.lines().rev().find(|line| !line.trim().is_empty());
        last.map(|line| format!("the node's last words: {}", line.trim()))
            .into_iter()
            .collect()
    }

    /// Addresses in what scenarios said that are not in the stack file.
    pub(super) fn strange_urls(&self, case: &Case<'_>) -> BTreeSet<String> {
        let stack = fs::read_to_string(self.folder.stack_file()).unwrap_or_default();
        let ours: BTreeSet<&str> = authorities(&stack).collect();
        let scenarios = case.said.get("scenarios").map(String::as_str).unwrap_or_default();
        // What answers is an address that somebody meant; only what could not be reached is suspicious.
        let unreached = scenarios.lines().filter(|line| {
            [
                "refused",
                "not known",
                "dns error",
                "unreachable",
                "timed out",
                "connect",
            ]
            .iter()
            .any(|word| line.to_ascii_lowercase().contains(word))
        });
        unreached
            .flat_map(authorities)
            .filter(|authority| !ours.contains(authority))
            .map(str::to_owned)
            .collect()
    }

    fn urls(&self, case: &Case<'_>) -> Vec<String> {
        let strange: Vec<String> = self.strange_urls(case).into_iter().collect();
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
            format!("not this stack's: {}", strange.join(", ")),
            format!("this stack's: {}", ours.join(", ")),
        ]
    }
}

/// `HOST:PORT` of each URL in a text.
fn authorities(text: &str) -> impl Iterator<Item = &str> {
    text.split("://").skip(1).filter_map(|rest| {
        let end = rest
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || ".:-_@".contains(letter)))
            .unwrap_or(rest.len());
        let authority = rest.get(..end)?.trim_end_matches([':', '.']);
        Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
    })
}

/// Who has the port that a message names before it says that the address is in use.
fn port(case: &Case<'_>) -> Vec<String> {
    let mut sources = [case.error]
        .into_iter()
        .chain(case.said.values().map(String::as_str));
    let told = |port| {
        let who = listener::who(port).unwrap_or_else(|| "somebody who has let go of it by now".to_owned());
        format!("port {port} has {who}")
    };
    sources.find_map(port_in_use).map(told).into_iter().collect()
}

/// The port that a text says is in use: `HOST:PORT` before the system's own words, or `port N` after them, as
/// PostgreSQL puts it into the line that follows.
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

/// The port of `HOST:PORT`; a time of day is none.
fn port_of_address(word: &str) -> Option<u16> {
    let word = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric() && !"[*".contains(letter));
    let (host, port) = word.rsplit_once(':')?;
    let is_host =
        host.ends_with(']') || host.ends_with("localhost") || host.ends_with('*') || host.contains('.');
    port.parse().ok().filter(|_| is_host)
}

/// The number that a text begins with.
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
    fn the_authorities_of_a_text_are_hosts_with_ports() {
        let text = r#"GET http://127.0.0.1:9/readyz: refused; "postgres://u:p@127.0.0.1:15432/audit", see https://a.example."#;
        let found: Vec<_> = authorities(text).collect();
        assert_eq!(found, ["127.0.0.1:9", "127.0.0.1:15432", "a.example"]);
    }

    #[test]
    fn the_port_is_that_of_an_address_and_not_of_a_time() {
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
    fn who_has_a_port_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port_number = listener.local_addr().unwrap().port();
        let error =
            format!("back: can't listen on 127.0.0.1:{port_number}: Address already in use (os error 98)");
        let case = Case {
            task: "back",
            role: Some("service"),
            error: &error,
            said: Default::default(),
        };
        let lines = port(&case);
        assert!(
            lines[0].starts_with(&format!("port {port_number} has "))
                && lines[0].ends_with(&format!("(process {})", std::process::id())),
            "{lines:?}"
        );
    }
}
