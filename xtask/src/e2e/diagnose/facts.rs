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

/// Who has the port that a message names last before it says that the address is in use.
fn port(case: &Case<'_>) -> Vec<String> {
    let sources = [case.error]
        .into_iter()
        .chain(case.said.values().map(String::as_str));
    let mut lines = sources
        .flat_map(str::lines)
        .filter(|line| line.to_ascii_lowercase().contains("address already in use"));
    let port = lines.find_map(|line| {
        let numbers = line.split(':').skip(1).filter_map(|part| {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u16>().ok()
        });
        numbers.last()
    });
    let told = |port| {
        let who = listener::who(port).unwrap_or_else(|| "somebody who has let go of it by now".to_owned());
        format!("port {port} has {who}")
    };
    port.map(told).into_iter().collect()
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
