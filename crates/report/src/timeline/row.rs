//! Rows of tasks: bars, texts, milestones, and the joints between them.

use serde::Serialize;
use taskgraph::{Outcome, TaskTrace};

use super::{Scale, round, size};
use crate::analysis::Analysis;
use crate::model::Report;
use crate::words::{self, printable};

#[derive(Serialize)]
pub(super) struct Row {
    name: String,
    label: String,
    label_y: f64,
    y: f64,
    bar_y: f64,
    bar_height: f64,
    log: Option<String>,
    /// `done`, `skipped`, `failed`, `cancelled`, `not-started`.
    outcome: String,
    critical: bool,
    odd: bool,
    waiting: Option<Bar>,
    running: Option<Bar>,
    /// Part of `running` that belongs to the bounding chain.
    bounding: Option<Bar>,
    milestones: Vec<Milestone>,
    text: String,
    text_x: f64,
    /// `start`: after the bar; `end`: before it, where there is no space after it.
    text_anchor: &'static str,
    tooltip: String,
}

#[derive(Serialize)]
pub(super) struct Bar {
    pub(super) x: f64,
    pub(super) width: f64,
}

#[derive(Serialize)]
pub(super) struct Milestone {
    x: f64,
    y: f64,
    name: String,
}

/// A vertical line from a link of the bounding chain to the row of the next one.
#[derive(Serialize)]
pub(super) struct Joint {
    x: f64,
    from_y: f64,
    to_y: f64,
}

pub(super) fn row(
    report: &Report,
    analysis: &Analysis,
    scale: &Scale,
    index: usize,
    task: &TaskTrace,
) -> Row {
    let y = size::TOP + index as f64 * size::ROW;
    let seconds = |duration: std::time::Duration| duration.as_secs_f64();
    let running = task
        .start
        .map(|start| scale.bar(seconds(start), seconds(task.end)));
    let waiting = match (task.ready, task.start) {
        (Some(ready), Some(start)) if task.held.is_some() && start > ready => {
            Some(scale.bar(seconds(ready), seconds(start)))
        }
        _ => None,
    };
    let link = analysis.link(&task.name);
    let bounding = link
        .zip(task.start)
        .map(|(link, start)| scale.bar(seconds(link.from.max(start)), seconds(link.to)));
    let text = printable(&bar_text(task));
    let (text_x, text_anchor) = text_place(scale, running.as_ref(), &text);
    Row {
        name: printable(&task.name),
        label: shortened(&printable(&task.name)),
        label_y: y + size::ROW / 2.0 + 4.0,
        y,
        bar_y: y + (size::ROW - size::BAR) / 2.0,
        bar_height: size::BAR,
        log: report.log_link(&task.name),
        outcome: task.outcome.word().replace(' ', "-"),
        critical: link.is_some(),
        odd: index % 2 == 1,
        text,
        text_x,
        text_anchor,
        tooltip: printable(&tooltip(analysis, task)),
        milestones: task
            .milestones
            .iter()
            .map(|(name, at)| Milestone {
                x: scale.x(seconds(*at)),
                y: y + size::ROW / 2.0,
                name: printable(name),
            })
            .collect(),
        running,
        waiting,
        bounding,
    }
}

fn text_place(scale: &Scale, bar: Option<&Bar>, text: &str) -> (f64, &'static str) {
    let Some(bar) = bar else {
        return (scale.left + 6.0, "start");
    };
    let after = bar.x + bar.width + 6.0;
    let before = bar.x - 6.0;
    let width = text.chars().count() as f64 * size::LETTER;
    if after + width > size::WIDTH && before - width > scale.left {
        (round(before), "end")
    } else {
        (round(after), "start")
    }
}

/// Text after a bar: the duration, and the outcome if it is not a success.
fn bar_text(task: &TaskTrace) -> String {
    let duration = words::span(task.duration());
    match (&task.outcome, task.start) {
        (Outcome::Done { .. }, _) => duration,
        (Outcome::NotStarted { cause }, _) => format!("not started: {cause}"),
        (Outcome::Skipped { .. }, _) if task.duration().as_millis() < 10 => "skipped".to_owned(),
        (outcome, _) => format!("{} · {duration}", outcome.word()),
    }
}

fn tooltip(analysis: &Analysis, task: &TaskTrace) -> String {
    let mut lines = vec![format!("{}: {}", task.name, task.outcome.word())];
    if let Some(start) = task.start {
        lines.push(format!(
            "{}, from {} to {}",
            words::span(task.duration()),
            words::span(start),
            words::span(task.end)
        ));
    }
    if let Some(held) = &task.held {
        let resources = if held.resources.is_empty() {
            "a thread".to_owned()
        } else {
            held.resources.join(", ")
        };
        lines.push(format!("waited {} for {resources}", words::span(task.waited())));
    }
    match (analysis.link(&task.name), analysis.slack.get(&task.name)) {
        (Some(link), _) => lines.push(format!("{} of the bounding chain", words::span(link.cost()))),
        (None, Some(slack)) => lines.push(format!("slack {}", words::span(*slack))),
        (None, None) => {}
    }
    lines.join("\n")
}

fn shortened(label: &str) -> String {
    if label.chars().count() <= size::MAX_LABEL {
        return label.to_owned();
    }
    label.chars().take(size::MAX_LABEL - 1).chain(['…']).collect()
}

pub(super) fn joints(analysis: &Analysis, tasks: &[&TaskTrace], scale: &Scale) -> Vec<Joint> {
    let middle = |name: &str| {
        let row = tasks.iter().position(|task| task.name == name)?;
        Some(size::TOP + (row as f64 + 0.5) * size::ROW)
    };
    let joint = |pair: &[taskgraph::ChainLink]| {
        let [from, to] = pair else { return None };
        let (from_y, to_y) = (middle(&from.task)?, middle(&to.task)?);
        // From the edge of one bar to the edge of the other.
        let half = if to_y > from_y {
            size::BAR / 2.0
        } else {
            -size::BAR / 2.0
        };
        Some(Joint {
            x: scale.x(from.to.as_secs_f64()),
            from_y: from_y + half,
            to_y: to_y - half,
        })
    };
    analysis.bounding.windows(2).filter_map(joint).collect()
}
