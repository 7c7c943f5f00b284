//! What a person sees while a run goes on and at its end: plain timestamped lines on stderr.

use std::collections::BTreeMap;

use taskgraph::{Event, Graph, Outcome, Run, What};

use super::{
    execute::{self, Scenario},
    plan::Work,
    settings::Settings,
};
use crate::run_folder::RunFolder;

/// Prints a run.
pub(super) struct Screen {
    names: Vec<String>,
    width: usize,
    started: BTreeMap<usize, std::time::Duration>,
}

impl Screen {
    pub(super) fn new(graph: &Graph<Work>, settings: &Settings, why: &str) -> Self {
        let names: Vec<String> = graph.plan().tasks.iter().map(|task| task.name.clone()).collect();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        eprintln!(
            "run {} on {} ({why}), order {}",
            settings.run, settings.provider, settings.order
        );
        Self {
            names,
            width,
            started: BTreeMap::new(),
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        let index = event.task.index();
        let name = self.names.get(index).map_or("", String::as_str);
        let at = event.at.as_secs_f64();
        let width = self.width;
        match &event.what {
            What::Started => {
                self.started.insert(index, event.at);
                eprintln!("{at:7.1}  {name:width$}  …");
            }
            What::Finished(outcome) => {
                let took = self
                    .started
                    .get(&index)
                    .map(|start| event.at.saturating_sub(*start).as_secs_f64());
                let took = took
                    .map(|seconds| format!(" after {seconds:.1} s"))
                    .unwrap_or_default();
                let detail = match outcome {
                    Outcome::Done { note: Some(note) } => format!(": {note}"),
                    Outcome::Skipped { reason } => format!(": {reason}"),
                    Outcome::NotStarted { cause } => format!(": {cause}"),
                    _ => String::new(),
                };
                eprintln!("{at:7.1}  {name:width$}  {}{took}{detail}", outcome.word());
            }
            What::Waiting { .. } | What::Reached(_) => {}
            What::Progress(line) => {
                if name == "test" {
                    eprintln!("{at:7.1}  {name:width$}  {line}");
                }
            }
        }
    }

    pub(super) fn end(&self, run: &Run, scenarios: &[Scenario], folder: &RunFolder, kept: bool) {
        for scenario in scenarios {
            let word = execute::word(scenario.outcome);
            let reason = scenario
                .reason
                .as_ref()
                .map(|reason| format!("  ({reason})"))
                .unwrap_or_default();
            eprintln!("  {word:8}{:7.2} s  {}{reason}", scenario.seconds, scenario.name);
        }
        for failure in run.failures.iter().rev() {
            eprintln!("\n{} failed: {:#}", failure.task, failure.error);
        }
        if kept {
            eprintln!("the stack stays: `cargo xtask down {}` removes it", folder.run());
        }
        eprintln!("{}: {}", folder.run(), folder.path().display());
    }
}
