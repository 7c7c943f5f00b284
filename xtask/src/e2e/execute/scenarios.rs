//! The scenarios: runs the test program and follows its events.

use std::{collections::BTreeMap, fs, sync::PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;
use subprocess::Ended;
use taskgraph::Context;

use super::{Did, Place, World};
use crate::{command::Command, e2e::template, run_folder::Provider};

/// A whole suite on a slow machine takes minutes; one that takes longer hangs.
const LONGEST_SUITE: u64 = 40 * 60;

/// How a scenario ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// One scenario that ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
    /// Why it was skipped.
    pub(crate) reason: Option<String>,
    /// How it failed.
    pub(crate) detail: Option<String>,
}

/// A line of the test program.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Started { name: String },
    Finished(Scenario),
    Summary {},
}

/// Scenarios failed: the stack itself is fine, so this is no failure of the environment.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {ran} scenarios failed")]
pub(crate) struct ScenariosFailed {
    failed: usize,
    ran: usize,
}

impl World<'_> {
    pub(super) fn run_scenarios(&self, place: &Place<'_>, command: &Command) -> anyhow::Result<Did> {
        let context = place.context.clone();
        let command = self.prepared(place, command, LONGEST_SUITE);
        let result = command
            .observe(move |line| follow(line, &context))
            .run(place.cancel);
        // The observer sees long lines cut short; the log has them whole.
        let log = fs::read_to_string(self.folder.log(place.context.name())).unwrap_or_default();
        let ended = ended(&log);
        let is_failed = |scenario: &&Scenario| scenario.outcome == Outcome::Failed;
        let (failed, ran) = (ended.iter().filter(is_failed).count(), ended.len());
        *self.scenarios.lock().unwrap_or_else(PoisonError::into_inner) = ended;
        match result {
            Ok(_) if ran == 0 && self.settings.shard.is_some() => {
                Ok(Did::Nothing("no scenario falls to this shard".to_owned()))
            }
            Ok(_) if ran == 0 => anyhow::bail!("no scenario's name has what was asked for in it"),
            Ok(_) => Ok(Did::Something),
            Err(failure) if matches!(failure.ended(), Ended::Exit(1)) && failed > 0 => {
                Err(ScenariosFailed { failed, ran }.into())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// The URLs by which a component is reached from this machine, secrets included.
    pub(super) fn component_urls(&self, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let variables = json!({"secrets": self.secrets, "ports": self.settings.ports});
        let mut urls = BTreeMap::new();
        for (url, text) in self
            .settings
            .stack
            .components
            .get(name)
            .into_iter()
            .flat_map(|entry| &entry.urls)
        {
            let place = format!("components.{name}.urls.{url}");
            urls.insert(url.clone(), template::render(&place, text.get_ref(), &variables)?);
        }
        Ok(urls)
    }

    /// Writes where everything is: what the tests are given.
    pub(super) fn stack_file(&self, to: &std::path::Path) -> anyhow::Result<Did> {
        let settings = self.settings;
        let urls = |service: &str| -> BTreeMap<String, String> {
            let ports = settings.ports.get(service).into_iter().flatten();
            ports
                .filter_map(|(name, _)| Some((name.clone(), settings.url(service, name)?)))
                .collect()
        };
        let services: BTreeMap<&str, _> = settings
            .stack
            .services
            .keys()
            .map(|name| (name.get_ref().as_str(), urls(name.get_ref())))
            .collect();
        let mut components = BTreeMap::new();
        for name in settings.stack.components.keys() {
            components.insert(name.get_ref().as_str(), self.component_urls(name.get_ref())?);
        }
        let provider: Provider = settings.provider;
        // What was compiled for this machine: scenarios start instances of their own with other configurations.
        let programs: BTreeMap<&str, _> = settings
            .stack
            .services
            .keys()
            .map(|name| (name.get_ref().as_str(), settings.program(name.get_ref())))
            .filter(|(_, program)| program.exists())
            .collect();
        let stack = json!({
            "provider": provider,
            "run": settings.run,
            "namespace": settings.namespace(),
            "kubeconfig": settings.kubeconfig(),
            "services": services,
            "components": components,
            "control": [&settings.own_program.display().to_string(), "control", "--run", &settings.folder.display().to_string()],
            "runner": [&settings.own_program],
            "workspace": settings.workspace,
            "programs": programs,
        });
        super::files::write(to, &format!("{stack:#}\n"))
    }
}

/// What begins a line of progress that tells of a scenario's start.
pub(crate) const BEGUN: &str = "… ";

/// Tells the live table how far the scenarios are.
fn follow(line: &str, context: &Context) {
    match serde_json::from_str(line) {
        Ok(Event::Started { name }) => context.progress(format!("{BEGUN}{name}")),
        Ok(Event::Finished(Scenario {
            name,
            outcome,
            seconds,
            ..
        })) => context.progress(format!("{:8}{seconds:7.2} s  {name}", word(outcome))),
        // Lines of stderr come here too; they are in the log.
        Ok(Event::Summary {}) | Err(_) => {}
    }
}

/// The scenarios that ended in the last run of a log: a kept stack's log has one after the other.
fn ended(log: &str) -> Vec<Scenario> {
    let last = log.rfind("\n$ ").map_or(log, |start| &log[start..]);
    let finished = |line| match serde_json::from_str(line) {
        Ok(Event::Finished(scenario)) => Some(scenario),
        _ => None,
    };
    last.lines().filter_map(finished).collect()
}

/// As the counts say it.
pub(crate) fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_run_of_a_log_counts_and_other_lines_do_not() {
        let finished = |id: &str, outcome: &str| {
            format!(
                r#"{{"event":"finished","id":"{id}","name":"{id}_x","outcome":"{outcome}","seconds":1.5,"reason":null,"detail":null}}"#
            )
        };
        let log = [
            "$ test-e2e run".to_owned(),
            finished("g01", "failed"),
            "\n$ test-e2e run".to_owned(),
            r#"{"event":"started","id":"g01","name":"g01_x"}"#.to_owned(),
            "a warning on stderr".to_owned(),
            finished("g01", "passed"),
            finished("g02", "skipped"),
            r#"{"event":"summary","passed":1,"failed":0,"skipped":1,"seconds":3.0}"#.to_owned(),
        ]
        .join("\n");
        let ended: Vec<_> = ended(&log)
            .into_iter()
            .map(|scenario| (scenario.id, scenario.outcome))
            .collect();
        assert_eq!(
            ended,
            [
                ("g01".to_owned(), Outcome::Passed),
                ("g02".to_owned(), Outcome::Skipped)
            ]
        );
    }
}
