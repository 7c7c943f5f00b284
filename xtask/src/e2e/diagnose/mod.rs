//! Why a task failed, in words, with what to do: the catalogue of known failures, and what is looked up for them.

mod compile;
mod facts;

use std::{collections::BTreeMap, fmt::Write as _, sync::OnceLock};

use serde::Deserialize;

pub(crate) use self::facts::Facts;

/// The data, which docs/failures.md is made from as well.
const CATALOGUE: &str = include_str!("catalogue.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    failure: Vec<Entry>,
    node: Vec<NodeCause>,
}

/// A failure that is known.
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

/// What a message needs from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Fact {
    Memory,
    Disk,
    Port,
    Node,
    Urls,
}

/// What a line of a node's log means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeCause {
    text: String,
    cause: String,
    fix: String,
}

/// A test shows that it can be read.
fn catalogue() -> &'static Catalogue {
    static READ: OnceLock<Catalogue> = OnceLock::new();
    READ.get_or_init(|| {
        toml::from_str(CATALOGUE).unwrap_or(Catalogue {
            failure: Vec::new(),
            node: Vec::new(),
        })
    })
}

/// A failed task, with what it and others said.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) task: &'a str,
    /// `job`, `service` or `component` where the task is one of the stack's.
    pub(crate) role: Option<&'a str>,
    /// The failure as it is shown.
    pub(crate) error: &'a str,
    /// Its scenarios' failures, the end of its log, what was collected: by name.
    pub(crate) said: BTreeMap<&'static str, String>,
}

impl Case<'_> {
    fn is_one_of(&self, tasks: &[String]) -> bool {
        let name = self.task.split(':').next().unwrap_or(self.task);
        let fits =
            |wanted: &String| wanted == name || wanted == self.task || Some(wanted.as_str()) == self.role;
        tasks.is_empty() || tasks.iter().any(fits)
    }

    /// The first line anywhere that has one of the texts.
    fn line_with(&self, texts: &[String]) -> Option<&str> {
        let sources = [self.error]
            .into_iter()
            .chain(self.said.values().map(String::as_str));
        let mut lines = sources.flat_map(str::lines);
        lines.find(|line| texts.iter().any(|text| line.contains(text.as_str())))
    }
}

/// What the failure is and what to do, if it is known.
pub(crate) fn explain(case: &Case<'_>, facts: &Facts<'_>) -> Option<String> {
    let mut text = String::new();
    let fits = |entry: &&Entry| {
        case.is_one_of(&entry.tasks)
            && case.line_with(&entry.texts).is_some()
            && (entry.facts != Some(Fact::Urls) || !facts.strange_urls(case).is_empty())
    };
    if let Some(entry) = catalogue().failure.iter().find(fits) {
        let _ = write!(text, "\n  what it is: {} [{}]", entry.title, entry.id);
        let line = case.line_with(&entry.texts).unwrap_or_default().trim();
        // What is in the failure already stands above.
        if !case.error.contains(line) {
            let short: String = line.chars().take(300).collect();
            let _ = write!(text, "\n    it said: {short}");
        }
        for line in entry.facts.map(|fact| facts.look(fact, case)).unwrap_or_default() {
            let _ = write!(text, "\n    {line}");
        }
        if entry.id == "compile-error"
            && let Some(errors) = case.said.get("log").and_then(|log| compile::errors(log))
            // One error is in the last lines; of many those only have the end.
            && !errors.lines().all(|line| case.error.contains(line.trim()))
        {
            let _ = write!(text, "\n  the compiler's first errors:\n{errors}");
        }
        let _ = write!(text, "\n  what to do: {}", entry.fix);
    }
    (!text.is_empty()).then_some(text)
}

/// The cause that a node's log names.
fn node_cause(log: &str) -> Option<(&'static NodeCause, &str)> {
    let found = |cause: &'static NodeCause| {
        let line = log.lines().find(|line| line.contains(&cause.text))?;
        Some((cause, line.trim()))
    };
    catalogue().node.iter().find_map(found)
}

#[cfg(test)]
mod tests;
