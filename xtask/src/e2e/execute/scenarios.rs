//! The scenarios: runs the test program and follows its events.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use subprocess::Ended;
use taskgraph::Context;

use super::{Did, Place, World};
use crate::{
    e2e::{plan::Command, template},
    run_folder::Provider,
};

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
#[derive(Debug, Clone, Serialize)]
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
    Finished(Finished),
    Summary {},
}

#[derive(Debug, Deserialize)]
struct Finished {
    id: String,
    name: String,
    outcome: Outcome,
    seconds: f64,
    reason: Option<String>,
    detail: Option<String>,
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
        let ended: Arc<Mutex<Vec<Scenario>>> = Arc::default();
        let (seen, context) = (Arc::clone(&ended), place.context.clone());
        let command = self
            .prepared(place, command, LONGEST_SUITE)
            .observe(move |line| follow(line, &seen, &context));
        let result = command.run(place.cancel);
        let ended = ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failed = ended
            .iter()
            .filter(|scenario| scenario.outcome == Outcome::Failed)
            .count();
        let ran = ended.len();
        self.scenarios
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(ended);
        match result {
            Ok(_) if ran == 0 => anyhow::bail!("no scenario ran; see `--plan` for the command"),
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
        });
        super::files::write(to, &format!("{stack:#}\n"))
    }
}

fn follow(line: &str, ended: &Mutex<Vec<Scenario>>, context: &Context) {
    // Lines of stderr come here too; they are in the log.
    let Ok(event) = serde_json::from_str::<Event>(line) else {
        return;
    };
    match event {
        Event::Started { name } => context.progress(name),
        Event::Summary {} => {}
        Event::Finished(Finished {
            id,
            name,
            outcome,
            seconds,
            reason,
            detail,
        }) => {
            let took = Duration::from_secs_f64(seconds.max(0.0));
            context.progress(format!(
                "{name}: {} in {:.1} s",
                word(outcome),
                took.as_secs_f64()
            ));
            let scenario = Scenario {
                id,
                name,
                outcome,
                seconds,
                reason,
                detail,
            };
            ended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(scenario);
        }
    }
}

/// As the counts say it.
pub(crate) fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    }
}
