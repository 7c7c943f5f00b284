//! The scenarios: runs the test program and follows its events.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, PoisonError},
};

use report::{Scenario, ScenarioOutcome};
use serde::Deserialize;
use serde_json::json;
use subprocess::Outcome;
use taskgraph::Context;

use super::{RunContext, StepContext, StepOutcome};
use crate::{command::Command, e2e::template};

/// A line of the test program.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Planned { scenarios: usize },
    Started { id: String },
    Finished(Scenario),
    Summary {},
}

/// Scenarios failed, which is no failure of the environment.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {ran} scenarios failed")]
pub(crate) struct ScenariosFailed {
    failed: usize,
    ran: usize,
}

impl RunContext<'_> {
    pub(super) fn run_scenarios(
        &self,
        step: &StepContext<'_>,
        command: &Command,
    ) -> anyhow::Result<StepOutcome> {
        let task = step.task.clone();
        let progress = Mutex::new(Progress::default());
        let result = self
            .prepared(step, command)
            .observe(move |line| {
                let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                progress.follow(line, &task);
            })
            .run(step.cancel);
        // The observer receives long lines cut; the log has them whole.
        let log = fs::read_to_string(self.folder.log(step.task.name())).unwrap_or_default();
        let finished = finished(&log);
        let is_failed = |test: &&Scenario| test.outcome == ScenarioOutcome::Failed;
        let (failed, ran) = (finished.iter().filter(is_failed).count(), finished.len());
        *self.scenarios.lock().unwrap_or_else(PoisonError::into_inner) = finished;
        match result {
            Ok(_) if ran == 0 && self.settings.shard.is_some() => {
                Ok(StepOutcome::Skipped("this shard has no scenario".to_owned()))
            }
            Ok(_) if ran == 0 => anyhow::bail!("{}", no_match(&self.settings.filters)),
            Ok(_) => Ok(StepOutcome::Done),
            Err(failure) if matches!(failure.outcome(), Outcome::Exit(1)) && failed > 0 => {
                Err(ScenariosFailed { failed, ran }.into())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// Returns the URLs by which a component is reached from this machine, secrets included.
    pub(super) fn component_urls(&self, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let variables = json!({"secrets": self.secrets, "ports": self.settings.ports});
        let component = self.settings.stack.components.get(name);
        let mut urls = BTreeMap::new();
        for (url, text) in component.into_iter().flat_map(|entry| &entry.urls) {
            let key = format!("components.{name}.urls.{url}");
            urls.insert(url.clone(), template::render(&key, text.get_ref(), &variables)?);
        }
        Ok(urls)
    }

    /// Returns the file with all addresses, which the tests read.
    pub(super) fn stack_file(&self) -> anyhow::Result<String> {
        let settings = self.settings;
        let stack = &settings.stack;
        let urls = |service: &str| -> BTreeMap<String, String> {
            let ports = settings.ports.get(service).into_iter().flatten();
            ports
                .filter_map(|(name, _)| Some((name.clone(), settings.url(service, name)?)))
                .collect()
        };
        let names = || stack.services.keys().map(|name| name.get_ref().as_str());
        let services: BTreeMap<&str, _> = names().map(|name| (name, urls(name))).collect();
        let mut components = BTreeMap::new();
        for name in stack.components.keys() {
            components.insert(name.get_ref().as_str(), self.component_urls(name.get_ref())?);
        }
        // Programs compiled for this machine: scenarios start instances with other configurations.
        let programs: BTreeMap<&str, _> = names()
            .map(|name| (name, settings.program(name)))
            .filter(|(_, program)| program.exists())
            .collect();
        let stack = json!({
            "provider": settings.provider.name(),
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
        Ok(format!("{stack:#}\n"))
    }
}

fn no_match(filters: &[String]) -> String {
    let quoted: Vec<String> = filters.iter().map(|filter| format!("{filter:?}")).collect();
    match quoted.as_slice() {
        [] => "the test program ran no scenario".to_owned(),
        [filter] => format!("no scenario matches the filter {filter}"),
        filters => format!("no scenario matches any of the filters {}", filters.join(", ")),
    }
}

/// Prefix of a progress line for the live screen alone.
pub(crate) const RUNNING: &str = "… ";

/// Progress of the scenarios.
#[derive(Default)]
struct Progress {
    /// Number of scenarios, if the test program reports it.
    planned: Option<usize>,
    finished: usize,
    failed: usize,
    /// Ids of the running ones, in the order of their starts.
    running: Vec<String>,
}

impl Progress {
    /// Reports a line of the test program.
    fn follow(&mut self, line: &str, task: &Context) {
        match serde_json::from_str(line) {
            Ok(Event::Planned { scenarios }) => self.planned = Some(scenarios),
            Ok(Event::Started { id }) => self.running.push(id),
            Ok(Event::Finished(test)) => {
                self.finished += 1;
                self.failed += usize::from(test.outcome == ScenarioOutcome::Failed);
                self.running.retain(|id| *id != test.id);
                let Scenario {
                    name,
                    outcome,
                    seconds,
                    ..
                } = test;
                let (count, outcome) = (self.count(), outcome.as_str());
                task.progress(format!("{count}  {outcome:8}{seconds:6.2} s  {name}"));
            }
            // Lines of stderr are observed too; the log has them.
            Ok(Event::Summary {}) | Err(_) => return,
        }
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        let running = self.running.join(" ");
        task.progress(format!("{RUNNING}{}{failed}  {running}", self.count()));
    }

    /// Returns the finished scenarios of all, such as `23/54`.
    fn count(&self) -> String {
        match self.planned {
            Some(planned) => {
                let width = planned.to_string().len();
                format!("{:width$}/{planned}", self.finished)
            }
            None => format!("{:2}", self.finished),
        }
    }
}

/// Returns the scenarios that finished in the last run of a log; a kept stack's log has several runs.
fn finished(log: &str) -> Vec<Scenario> {
    let last = log.rfind("\n$ ").map_or(log, |start| &log[start..]);
    let finished = |line| match serde_json::from_str(line) {
        Ok(Event::Finished(test)) => Some(test),
        _ => None,
    };
    last.lines().filter_map(finished).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_finished_scenarios_of_the_last_run_only() {
        let event = |id: &str, outcome: &str| {
            format!(
                r#"{{"event":"finished","id":"{id}","name":"{id}_x","outcome":"{outcome}","seconds":1.5,"reason":null,"detail":null}}"#
            )
        };
        let log = [
            "$ test-e2e run".to_owned(),
            event("g01", "failed"),
            "\n$ test-e2e run".to_owned(),
            r#"{"event":"started","id":"g01","name":"g01_x"}"#.to_owned(),
            "a warning on stderr".to_owned(),
            event("g01", "passed"),
            event("g02", "skipped"),
            r#"{"event":"summary","passed":1,"failed":0,"skipped":1,"seconds":3.0}"#.to_owned(),
        ]
        .join("\n");
        let finished: Vec<_> = finished(&log)
            .into_iter()
            .map(|test| (test.id, test.outcome))
            .collect();
        assert_eq!(
            finished,
            [
                ("g01".to_owned(), ScenarioOutcome::Passed),
                ("g02".to_owned(), ScenarioOutcome::Skipped)
            ]
        );
    }
}
