//! Progress of a run on stderr: a live table on a terminal, plain timestamped lines elsewhere.

use std::{collections::BTreeMap, io::IsTerminal, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use taskgraph::{Event, Graph, Outcome, What};

use super::{execute::RUNNING, plan::Work, settings::Settings};

use subprocess::eprint_line;

/// Prints the progress of a run.
pub(super) struct Screen {
    names: Vec<String>,
    width: usize,
    started: BTreeMap<usize, Duration>,
    /// A line for each running task; `None` without a terminal.
    live: Option<Live>,
    color: bool,
}

struct Live {
    all: MultiProgress,
    running: BTreeMap<usize, ProgressBar>,
}

impl Screen {
    pub(super) fn new(graph: &Graph<Work>, settings: &Settings, reason: &str) -> Self {
        let names: Vec<String> = graph.plan().tasks.iter().map(|task| task.name.clone()).collect();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        let terminal = std::io::stderr().is_terminal();
        let live = terminal.then(|| Live {
            all: MultiProgress::new(),
            running: BTreeMap::new(),
        });
        let color = terminal && std::env::var_os("NO_COLOR").is_none();
        eprint_line(format!(
            "run {} on {}, order {}: {reason}",
            settings.run,
            settings.provider.name(),
            settings.order
        ));
        Self {
            names,
            width,
            started: BTreeMap::new(),
            live,
            color,
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        let index = event.task.index();
        let name = self.names.get(index).cloned().unwrap_or_default();
        match &event.what {
            What::Started => {
                self.started.insert(index, event.at);
                self.begin(index, &name);
            }
            What::Finished(outcome) => self.finish(index, &name, event.at, outcome),
            What::Progress(line) => self.progress(index, &name, event.at, line),
            What::Waiting { .. } | What::Reached(_) => {}
        }
    }

    fn begin(&mut self, index: usize, name: &str) {
        let width = self.width;
        let Some(live) = &mut self.live else { return };
        let bar = live.all.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{elapsed:>7}  {prefix} {spinner} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(format!("{name:width$}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        live.running.insert(index, bar);
    }

    fn progress(&mut self, index: usize, name: &str, at: Duration, line: &str) {
        if let Some(bar) = self.live.as_ref().and_then(|live| live.running.get(&index)) {
            bar.set_message(line.to_owned());
        }
        // Scenarios are printed when they finish, like tasks.
        if name == "test" && !line.starts_with(RUNNING) {
            self.line(at, name, line);
        }
    }

    fn finish(&mut self, index: usize, name: &str, at: Duration, outcome: &Outcome) {
        if let Some(bar) = self.live.as_mut().and_then(|live| live.running.remove(&index)) {
            bar.finish_and_clear();
        }
        let took = self
            .started
            .get(&index)
            .map(|start| at.saturating_sub(*start).as_secs_f64());
        let took = took
            .map(|seconds| format!(" after {seconds:.1} s"))
            .unwrap_or_default();
        let detail = match outcome {
            Outcome::Done { note: Some(note) } => format!(": {note}"),
            Outcome::Skipped { reason } => format!(": {reason}"),
            // Printed once at the end, by cause.
            Outcome::NotStarted { .. } => return,
            _ => String::new(),
        };
        let word = self.colored(outcome);
        self.line(at, name, &format!("{word}{took}{detail}"));
    }

    fn colored(&self, outcome: &Outcome) -> String {
        let word = outcome.word();
        let code = match outcome {
            Outcome::Done { .. } => 32,
            Outcome::Failed { .. } => 31,
            _ => 33,
        };
        if self.color {
            format!("\u{1b}[{code}m{word}\u{1b}[0m")
        } else {
            word.to_owned()
        }
    }

    fn line(&self, at: Duration, name: &str, text: &str) {
        let width = self.width;
        let line = format!("{:7.1}  {name:width$}  {text}", at.as_secs_f64());
        match &self.live {
            // A closed terminal does not end a run.
            Some(live) => drop(live.all.println(line)),
            None => eprint_line(line),
        }
    }
}
