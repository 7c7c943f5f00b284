//! The scenarios: runs the test program and follows its events.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use report::{Scenario, ScenarioOutcome};
use serde::Deserialize;
use serde_json::json;
use subprocess::Outcome;
use taskgraph::Context;

use super::{RunContext, StepContext, StepOutcome};
use crate::{
    command::Command,
    e2e::{plan, rounds::retried, template},
};

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

fn failed(scenarios: &[Scenario]) -> impl Iterator<Item = &Scenario> {
    let is_failed = |test: &&Scenario| test.outcome == ScenarioOutcome::Failed;
    scenarios.iter().filter(is_failed)
}

impl RunContext<'_> {
    /// Runs the scenarios as often as the settings ask for; the report has each once, with its worst outcome.
    pub(super) fn run_scenarios(
        &self,
        step: &StepContext<'_>,
        command: &Command,
    ) -> anyhow::Result<StepOutcome> {
        let rounds = &self.settings.rounds;
        let mut round = 1;
        loop {
            let mut result = self.scenarios_once(step, command);
            let mut found = self.scenarios_of_last_log(step);
            for attempt in 1..=rounds.retries {
                let failed: Vec<String> = failed(&found).map(|scenario| scenario.name.clone()).collect();
                if failed.is_empty() || result.is_err() {
                    break;
                }
                let again = plan::scenarios(self.settings, &failed);
                result = self.scenarios_once(step, &again);
                retried(&mut found, self.scenarios_of_last_log(step), attempt);
            }
            let has_failure = failed(&found).next().is_some();
            rounds.add(&mut self.scenarios(), found, round);
            result?;
            if !rounds.goes_on(round, has_failure) {
                break;
            }
            round += 1;
        }
        if round > 1 {
            step.task.note(format!("{round} rounds"));
        }
        let all = self.scenarios();
        match (all.len(), failed(&all).count()) {
            (0, _) if self.settings.shard.is_some() => {
                Ok(StepOutcome::Skipped("this shard has no scenario".to_owned()))
            }
            (0, _) => anyhow::bail!("{}", no_match(&self.settings.filters)),
            (_, 0) => Ok(StepOutcome::Done),
            (ran, failed) => Err(ScenariosFailed { failed, ran }.into()),
        }
    }

    fn scenarios(&self) -> MutexGuard<'_, Vec<Scenario>> {
        self.scenarios.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the test program; failed scenarios are no error.
    fn scenarios_once(&self, step: &StepContext<'_>, command: &Command) -> anyhow::Result<()> {
        let task = step.task.clone();
        let progress = Mutex::new(Progress::new(self.settings.rounds.slow));
        let result = self
            .prepared(step, command)
            .observe(move |line| {
                let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                progress.follow(line, &task);
            })
            .run(step.cancel);
        match result {
            Ok(_) => Ok(()),
            Err(failure) => {
                let has_failed = failed(&self.scenarios_of_last_log(step)).next().is_some();
                match failure.outcome() {
                    Outcome::Exit(1) if has_failed => Ok(()),
                    _ => Err(failure.into()),
                }
            }
        }
    }

    /// Returns the scenarios that finished last. The observer receives long lines cut; the log has them whole.
    fn scenarios_of_last_log(&self, step: &StepContext<'_>) -> Vec<Scenario> {
        let log = fs::read_to_string(self.folder.log(step.task.name())).unwrap_or_default();
        finished(&log)
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
    slow: Option<Duration>,
}

impl Progress {
    fn new(slow: Option<Duration>) -> Self {
        Self {
            slow,
            ..Self::default()
        }
    }

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
                let is_slow = self.slow.is_some_and(|limit| seconds > limit.as_secs_f64());
                let slow = if is_slow { "  slow" } else { "" };
                task.progress(format!("{count}  {outcome:8}{seconds:6.2} s  {name}{slow}"));
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
