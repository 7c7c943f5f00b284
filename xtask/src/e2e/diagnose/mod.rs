//! Explanations of failures: the catalogue of known failures with fixes, and the facts that are collected for them.

mod compile;
mod facts;

use std::{collections::BTreeMap, fmt::Write as _, sync::OnceLock};

use serde::Deserialize;

pub(crate) use self::facts::Facts;

/// The catalogue; docs/failures.md is generated from it.
const CATALOGUE: &str = include_str!("catalogue.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    failure: Vec<Entry>,
    node: Vec<NodeCause>,
}

/// A known failure.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    title: String,
    texts: Vec<String>,
    #[serde(default)]
    tasks: Vec<String>,
    facts: Option<Fact>,
    fix: String,
}

/// Facts about the machine that an explanation includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Fact {
    Memory,
    Disk,
    Port,
    Node,
    Urls,
}

/// Meaning of a line of a node's log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeCause {
    text: String,
    cause: String,
    fix: String,
}

/// Returns the catalogue; a test proves that it is valid.
fn catalogue() -> &'static Catalogue {
    static READ: OnceLock<Catalogue> = OnceLock::new();
    READ.get_or_init(|| {
        toml::from_str(CATALOGUE).unwrap_or(Catalogue {
            failure: Vec::new(),
            node: Vec::new(),
        })
    })
}

/// A failed task with its texts.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) task: &'a str,
    /// `job`, `service` or `component` if the task deploys an entry of the stack.
    pub(crate) role: Option<&'a str>,
    /// The failure as it is printed.
    pub(crate) error: &'a str,
    /// Further texts by name: the end of its log, the failures of its scenarios.
    pub(crate) texts: BTreeMap<&'static str, String>,
}

impl Case<'_> {
    fn is_one_of(&self, tasks: &[String]) -> bool {
        let name = self.task.split(':').next().unwrap_or(self.task);
        let matches =
            |wanted: &String| wanted == name || wanted == self.task || Some(wanted.as_str()) == self.role;
        tasks.is_empty() || tasks.iter().any(matches)
    }

    /// Returns the first line that contains one of the texts.
    fn line_with(&self, texts: &[String]) -> Option<&str> {
        let sources = [self.error]
            .into_iter()
            .chain(self.texts.values().map(String::as_str));
        let mut lines = sources.flat_map(str::lines);
        lines.find(|line| texts.iter().any(|text| line.contains(text.as_str())))
    }
}

/// Returns the explanation of a failure and its fix, if the catalogue has it.
pub(crate) fn explain(case: &Case<'_>, facts: &Facts<'_>) -> Option<String> {
    let mut text = String::new();
    let matches = |entry: &&Entry| {
        case.is_one_of(&entry.tasks)
            && case.line_with(&entry.texts).is_some()
            && (entry.facts != Some(Fact::Urls) || !facts.foreign_urls(case).is_empty())
    };
    if let Some(entry) = catalogue().failure.iter().find(matches) {
        let _ = write!(text, "\n  cause: {} [{}]", entry.title, entry.id);
        let line = case.line_with(&entry.texts).unwrap_or_default().trim();
        // Lines of the failure are printed above.
        if !case.error.contains(line) {
            let short: String = line.chars().take(300).collect();
            let _ = write!(text, "\n    log line: {short}");
        }
        for line in entry
            .facts
            .map(|fact| facts.collect(fact, case))
            .unwrap_or_default()
        {
            let _ = write!(text, "\n    {line}");
        }
        if entry.id == "compile-error"
            && let Some(errors) = case.texts.get("log").and_then(|log| compile::errors(log))
            // A single error is in the last lines already.
            && !errors.lines().all(|line| case.error.contains(line.trim()))
        {
            let _ = write!(text, "\n  the compiler's first errors:\n{errors}");
        }
        let _ = write!(text, "\n  fix: {}", entry.fix);
    }
    (!text.is_empty()).then_some(text)
}

/// Returns the cause of a failure that a node's log shows, and the line.
fn node_cause(log: &str) -> Option<(&'static NodeCause, &str)> {
    let found = |cause: &'static NodeCause| {
        let line = log.lines().find(|line| line.contains(&cause.text))?;
        Some((cause, line.trim()))
    };
    catalogue().node.iter().find_map(found)
}

#[cfg(test)]
mod tests;
