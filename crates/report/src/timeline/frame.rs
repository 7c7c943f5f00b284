//! Axis, charts of CPU and memory, legend.

use serde::Serialize;
use taskgraph::{Outcome, TaskTrace, Trace};

use super::{Scale, round, size};
use crate::model::Report;
use crate::words;

#[derive(Serialize)]
pub(super) struct Tick {
    x: f64,
    label: String,
}

#[derive(Serialize)]
pub(super) struct Chart {
    label: String,
    class: &'static str,
    top: f64,
    pub(super) bottom: f64,
    most: String,
    area: String,
    line: String,
}

#[derive(Serialize)]
pub(super) struct Legend {
    x: f64,
    class: &'static str,
    label: &'static str,
}

/// Returns at most eleven ticks at round numbers.
pub(super) fn ticks(whole: f64, scale: &Scale) -> Vec<Tick> {
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
        .map(|index| index as f64 * step)
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

pub(super) fn charts(report: &Report, scale: &Scale, below: f64) -> Vec<Chart> {
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

/// Returns entries for what the image contains.
pub(super) fn legend(left: f64, trace: &Trace, has_chain: bool) -> Vec<Legend> {
    let any = |matches: fn(&TaskTrace) -> bool| trace.tasks.iter().any(matches);
    let known = [
        (any(|task| task.start.is_some()), "tl-run", "running"),
        (has_chain, "tl-bounding", "bounding chain"),
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
