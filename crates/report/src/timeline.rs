//! timeline.svg: a bar per task with its wait for resources, the bounding chain highlighted, CPU and memory below. The
//! geometry is computed here; the template only renders it.

mod frame;
mod row;

use serde::Serialize;
use taskgraph::{TaskTrace, Trace};

use self::frame::{Chart, Legend, Tick, charts, legend, ticks};
use self::row::{Bar, Joint, Row, joints, row};
use crate::analysis::Analysis;
use crate::model::{Report, ScenarioOutcome};
use crate::template;
use crate::words::{self, printable};

/// Sizes in pixels; the image is scaled as a whole.
mod size {
    pub(super) const WIDTH: f64 = 1080.0;
    /// Space for a duration after the last bar.
    pub(super) const RIGHT: f64 = 84.0;
    pub(super) const TOP: f64 = 84.0;
    pub(super) const ROW: f64 = 22.0;
    pub(super) const BAR: f64 = 14.0;
    /// Upper bound of the width of a letter: the viewer chooses the font, and the bounding chain is bold.
    pub(super) const LETTER: f64 = 7.6;
    pub(super) const MAX_LABEL: usize = 34;
    pub(super) const AXIS: f64 = 26.0;
    pub(super) const CHART: f64 = 56.0;
    pub(super) const CHART_GAP: f64 = 34.0;
    pub(super) const LEGEND: f64 = 34.0;
    /// Minimum width of a bar, so that it is visible.
    pub(super) const MIN_WIDTH: f64 = 2.0;
}

#[derive(Serialize)]
struct Image {
    title: String,
    subtitle: String,
    description: String,
    width: f64,
    height: f64,
    /// Ends of the time axis.
    left: f64,
    right: f64,
    /// Ends of the rows.
    top: f64,
    bottom: f64,
    /// End of the lowest chart.
    grid_bottom: f64,
    legend_y: f64,
    legend: Vec<Legend>,
    ticks: Vec<Tick>,
    rows: Vec<Row>,
    joints: Vec<Joint>,
    charts: Vec<Chart>,
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
        let width = ((to - from) * self.per_second).max(size::MIN_WIDTH);
        Bar {
            x: self.x(from),
            width: round(width),
        }
    }
}

/// Renders the run.
pub(crate) fn render(report: &Report) -> anyhow::Result<String> {
    template::render("timeline.svg", &image(report, &Analysis::new(&report.trace)))
}

/// Returns the tasks in the order of their start, then those that did not start; `always` tasks are last.
pub(crate) fn rows(trace: &Trace) -> Vec<&TaskTrace> {
    let mut rows: Vec<&TaskTrace> = trace.tasks.iter().collect();
    rows.sort_by_key(|task| (task.always, task.start.is_none(), task.start, task.end));
    rows
}

fn image(report: &Report, analysis: &Analysis) -> Image {
    let tasks = rows(&report.trace);
    let longest = tasks
        .iter()
        .map(|task| task.name.chars().count().min(size::MAX_LABEL))
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
    Image {
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
            .map(|(index, task)| row(report, analysis, &scale, index, task))
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
        run.result.as_str(),
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
    let counts = [
        ScenarioOutcome::Passed,
        ScenarioOutcome::Failed,
        ScenarioOutcome::Flaky,
        ScenarioOutcome::Skipped,
    ]
    .map(|outcome| (report.count(outcome), outcome));
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, outcome)| format!("{count} {}", outcome.as_str()))
        .collect();
    match &counts[..] {
        [] => "no scenarios ran".to_owned(),
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

/// Rounds to hundredths of a pixel, which keeps the file short.
fn round(pixels: f64) -> f64 {
    (pixels * 100.0).round() / 100.0
}
