//! timeline.svg: bars by task, waiting and running told apart, the chain that bounded the run marked, CPU and
//! memory below. All geometry is worked out here; the template only draws it.

use serde::Serialize;
use taskgraph::{Outcome, TaskTrace, Trace};

use crate::analysis::Analysis;
use crate::model::{Report, TestOutcome};
use crate::template;
use crate::words::{self, printable};

/// Sizes in pixels of the drawing, which scales as a whole.
mod size {
    pub(super) const WIDTH: f64 = 1080.0;
    /// Room for a duration behind the last bar.
    pub(super) const RIGHT: f64 = 84.0;
    pub(super) const TOP: f64 = 84.0;
    pub(super) const ROW: f64 = 22.0;
    pub(super) const BAR: f64 = 14.0;
    /// Width of a letter, rather too much than too little: the text is drawn by whoever shows the picture, in a
    /// font that is not known here, and bold on the bounding chain.
    pub(super) const LETTER: f64 = 7.6;
    pub(super) const LONGEST_LABEL: usize = 34;
    pub(super) const AXIS: f64 = 26.0;
    pub(super) const CHART: f64 = 56.0;
    pub(super) const CHART_GAP: f64 = 34.0;
    pub(super) const LEGEND: f64 = 34.0;
    /// A task of no time at all is still seen.
    pub(super) const THINNEST: f64 = 2.0;
}

#[derive(Serialize)]
struct Picture {
    title: String,
    subtitle: String,
    description: String,
    width: f64,
    height: f64,
    /// Where time begins and ends.
    left: f64,
    right: f64,
    /// Where rows begin and end.
    top: f64,
    bottom: f64,
    /// Where the lowest chart ends.
    grid_bottom: f64,
    legend_y: f64,
    legend: Vec<Legend>,
    ticks: Vec<Tick>,
    rows: Vec<Row>,
    joints: Vec<Joint>,
    charts: Vec<Chart>,
}

#[derive(Serialize)]
struct Tick {
    x: f64,
    label: String,
}

#[derive(Serialize)]
struct Row {
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
    /// The part of `running` that others waited for in the chain that bounded the run.
    bounding: Option<Bar>,
    milestones: Vec<Milestone>,
    text: String,
    text_x: f64,
    /// `start`: behind the bar, `end`: before it, where there is no room behind.
    text_anchor: &'static str,
    tooltip: String,
}

#[derive(Serialize)]
struct Bar {
    x: f64,
    width: f64,
}

#[derive(Serialize)]
struct Milestone {
    x: f64,
    y: f64,
    name: String,
}

/// A line from where one link of the bounding chain let the next go on, down or up to that one's row.
#[derive(Serialize)]
struct Joint {
    x: f64,
    from_y: f64,
    to_y: f64,
}

#[derive(Serialize)]
struct Chart {
    label: String,
    class: &'static str,
    top: f64,
    bottom: f64,
    most: String,
    area: String,
    line: String,
}

#[derive(Serialize)]
struct Legend {
    x: f64,
    class: &'static str,
    label: &'static str,
}

/// Seconds to pixels.
struct Scale {
    left: f64,
    per_second: f64,
}

impl Scale {
    fn x(&self, seconds: f64) -> f64 {
        round(self.left + seconds * self.per_second)
    }

    fn bar(&self, from: f64, to: f64) -> Bar {
        let width = ((to - from) * self.per_second).max(size::THINNEST);
        Bar {
            x: self.x(from),
            width: round(width),
        }
    }
}

/// Draws the run.
pub(crate) fn render(report: &Report) -> anyhow::Result<String> {
    template::render("timeline.svg", &picture(report, &Analysis::new(&report.trace)))
}

/// The tasks as they are shown: in the order of their start, those that never started behind the others, `always` tasks
/// last.
pub(crate) fn rows(trace: &Trace) -> Vec<&TaskTrace> {
    let mut rows: Vec<&TaskTrace> = trace.tasks.iter().collect();
    rows.sort_by_key(|task| (task.always, task.start.is_none(), task.start, task.end));
    rows
}

fn picture(report: &Report, analysis: &Analysis) -> Picture {
    let tasks = rows(&report.trace);
    let longest = tasks
        .iter()
        .map(|task| task.name.chars().count().min(size::LONGEST_LABEL))
        .max()
        .unwrap_or(0);
    let left = (24.0 + longest as f64 * size::LETTER).max(96.0).round();
    let right = size::WIDTH - size::RIGHT;
    let whole = report.trace.wall.as_secs_f64().max(0.001);
    let scale = Scale {
        left,
        per_second: (right - left) / whole,
    };
    let bottom = size::TOP + tasks.len() as f64 * size::ROW;
    let charts = charts(report, &scale, bottom + size::AXIS);
    let grid_bottom = charts.last().map_or(bottom, |chart| chart.bottom);
    let legend_y = if charts.is_empty() {
        bottom + size::AXIS
    } else {
        grid_bottom
    } + size::LEGEND;
    let (title, subtitle) = titles(report);
    Picture {
        description: description(analysis),
        title,
        subtitle,
        width: size::WIDTH,
        height: legend_y + 20.0,
        left,
        right,
        top: size::TOP,
        bottom,
        grid_bottom,
        legend_y,
        legend: legend(left, &report.trace, !analysis.bounding.is_empty()),
        ticks: ticks(whole, &scale),
        rows: tasks
            .iter()
            .enumerate()
            .map(|(place, task)| row(report, analysis, &scale, place, task))
            .collect(),
        joints: joints(analysis, &tasks, &scale),
        charts,
    }
}

fn titles(report: &Report) -> (String, String) {
    let run = &report.run;
    let title = format!(
        "{} e2e on {}: {} in {}",
        run.stack,
        run.provider,
        run.result.words(),
        words::span(report.trace.wall)
    );
    let mut parts = vec![
        format!("order {}", run.order),
        words::count(report.trace.tasks.len(), "task"),
    ];
    parts.push(tests_in_words(report));
    if report.machine.cpus > 0 {
        parts.push(format!(
            "{}, {}",
            words::count(report.machine.cpus, "CPU"),
            words::bytes(report.machine.memory_bytes)
        ));
    }
    (printable(&title), printable(&parts.join("  ·  ")))
}

/// `19 scenarios: 17 passed, 1 failed, 1 skipped`.
pub(crate) fn tests_in_words(report: &Report) -> String {
    let counts = [TestOutcome::Passed, TestOutcome::Failed, TestOutcome::Skipped]
        .map(|outcome| (report.count(outcome), outcome));
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, outcome)| format!("{count} {}", outcome.word()))
        .collect();
    match &counts[..] {
        [] => "no scenario ran".to_owned(),
        counts => format!(
            "{}: {}",
            words::count(report.tests.len(), "scenario"),
            counts.join(", ")
        ),
    }
}

fn description(analysis: &Analysis) -> String {
    let links = analysis
        .bounding
        .iter()
        .map(|link| format!("{} {}", link.task, words::span(link.cost())));
    printable(&format!("Bounded by: {}", links.collect::<Vec<_>>().join(", ")))
}

fn row(report: &Report, analysis: &Analysis, scale: &Scale, place: usize, task: &TaskTrace) -> Row {
    let y = size::TOP + place as f64 * size::ROW;
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
        odd: place % 2 == 1,
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
    let behind = bar.x + bar.width + 6.0;
    let before = bar.x - 6.0;
    let width = text.chars().count() as f64 * size::LETTER;
    if behind + width > size::WIDTH && before - width > scale.left {
        (round(before), "end")
    } else {
        (round(behind), "start")
    }
}

/// What stands behind a bar: the duration; before it, what isn't a plain success.
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
        (Some(link), _) => lines.push(format!("bounded the run for {}", words::span(link.cost()))),
        (None, Some(slack)) => lines.push(format!("could have taken {} longer", words::span(*slack))),
        (None, None) => {}
    }
    lines.join("\n")
}

fn shortened(label: &str) -> String {
    if label.chars().count() <= size::LONGEST_LABEL {
        return label.to_owned();
    }
    label.chars().take(size::LONGEST_LABEL - 1).chain(['…']).collect()
}

fn joints(analysis: &Analysis, tasks: &[&TaskTrace], scale: &Scale) -> Vec<Joint> {
    let middle = |name: &str| {
        let row = tasks.iter().position(|task| task.name == name)?;
        Some(size::TOP + (row as f64 + 0.5) * size::ROW)
    };
    let joint = |pair: &[taskgraph::ChainLink]| {
        let [from, to] = pair else { return None };
        let (from_y, to_y) = (middle(&from.task)?, middle(&to.task)?);
        // From the edge of one bar to that of the other.
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

/// At most ten, at round numbers.
fn ticks(whole: f64, scale: &Scale) -> Vec<Tick> {
    const STEPS: [f64; 17] = [
        0.001, 0.01, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
        3600.0,
    ];
    let step = STEPS
        .into_iter()
        .find(|step| whole / step <= 10.0)
        .unwrap_or((whole / 10.0).ceil());
    let count = (whole / step).floor() as usize;
    (0..=count)
        .map(|place| place as f64 * step)
        .map(|at| Tick {
            x: scale.x(at),
            label: tick_label(at, step),
        })
        .collect()
}

fn tick_label(at: f64, step: f64) -> String {
    let whole = at.round() as u64;
    if at == 0.0 {
        "0".to_owned()
    } else if step < 1.0 {
        format!("{} s", (at * 1000.0).round() / 1000.0)
    } else if whole < 60 {
        format!("{whole} s")
    } else if whole.is_multiple_of(60) {
        format!("{} min", whole / 60)
    } else {
        format!("{}:{:02}", whole / 60, whole % 60)
    }
}

fn charts(report: &Report, scale: &Scale, below: f64) -> Vec<Chart> {
    if report.samples.len() < 2 {
        return Vec::new();
    }
    let wall = report.trace.wall.as_secs_f64();
    let points = |value: fn(&crate::Sample) -> f64| -> Vec<(f64, f64)> {
        report
            .samples
            .iter()
            .filter(|sample| sample.at <= wall)
            .map(|sample| (sample.at, value(sample)))
            .collect()
    };
    let highest = |points: &[(f64, f64)]| points.iter().map(|point| point.1).fold(0.0, f64::max);
    let cpus = points(|sample| sample.cpus);
    let memory = points(|sample| sample.memory_bytes as f64);
    let most_cpus = highest(&cpus).max(report.machine.cpus as f64).max(1.0);
    let most_memory = highest(&memory).max(report.machine.memory_bytes as f64).max(1.0);
    let top = below + size::CHART_GAP - 16.0;
    let cpu_label = words::count(most_cpus.round() as usize, "CPU");
    vec![
        chart("CPUs busy", "tl-cpu", top, cpu_label, most_cpus, &cpus, scale),
        chart(
            "memory in use",
            "tl-memory",
            top + size::CHART + size::CHART_GAP,
            words::bytes(most_memory as u64),
            most_memory,
            &memory,
            scale,
        ),
    ]
}

fn chart(
    label: &str,
    class: &'static str,
    top: f64,
    most: String,
    highest: f64,
    points: &[(f64, f64)],
    scale: &Scale,
) -> Chart {
    let bottom = top + size::CHART;
    let place = |&(at, value): &(f64, f64)| {
        format!(
            "{},{}",
            scale.x(at),
            round(bottom - value / highest * size::CHART)
        )
    };
    let line = points.iter().map(place).collect::<Vec<_>>().join(" ");
    let ends = points.first().zip(points.last());
    let area = ends.map_or(String::new(), |(first, last)| {
        format!(
            "{},{bottom} {line} {},{bottom}",
            scale.x(first.0),
            scale.x(last.0)
        )
    });
    Chart {
        label: label.to_owned(),
        class,
        top,
        bottom,
        most,
        area,
        line,
    }
}

/// Only what is in the picture.
fn legend(left: f64, trace: &Trace, has_chain: bool) -> Vec<Legend> {
    let any = |holds: fn(&TaskTrace) -> bool| trace.tasks.iter().any(holds);
    let known = [
        (any(|task| task.start.is_some()), "tl-run", "running"),
        (has_chain, "tl-bounding", "bounded the run"),
        (
            any(|task| task.held.is_some()),
            "tl-wait",
            "waiting for a resource",
        ),
        (
            any(|task| matches!(task.outcome, Outcome::Skipped { .. })),
            "tl-run tl-skipped",
            "skipped",
        ),
        (
            any(|task| task.outcome.is_failure()),
            "tl-run tl-failed",
            "failed",
        ),
        (
            any(|task| matches!(task.outcome, Outcome::Cancelled { .. })),
            "tl-run tl-cancelled",
            "cancelled",
        ),
        (
            any(|task| !task.milestones.is_empty()),
            "tl-milestone",
            "milestone",
        ),
    ];
    let mut x = left;
    let mut legend = Vec::new();
    for (_, class, label) in known.into_iter().filter(|known| known.0) {
        legend.push(Legend {
            x: round(x),
            class,
            label,
        });
        x += 22.0 + label.len() as f64 * size::LETTER + 18.0;
    }
    legend
}

/// To a hundredth of a pixel: more only makes the file longer.
fn round(pixels: f64) -> f64 {
    (pixels * 100.0).round() / 100.0
}
