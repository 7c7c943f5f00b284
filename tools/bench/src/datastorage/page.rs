//! The part of docs/benchmarks.md, and its plots.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::Part;
use super::plot::{self, Line};
use super::record::{Figure, Measured, Record, median};
use crate::page::Section;
use crate::workspace;

/// Where a point of a curve is on its axis, and what was measured there of ours and of theirs.
type Point = (f64, Vec<f64>, Vec<f64>);

const PLOTS: &str = "plots";

/// Tables of what was measured.
pub(super) fn markdown(record: &Record) -> String {
    let mut text = String::new();
    for (part, measured) in &record.parts {
        let (title, note, command) = match part {
            Part::Writes => (
                "Writes",
                "pgbench inserts the same row into the same table, one a transaction, without chain, table of ids or HTTP.",
                "--part writes",
            ),
            Part::Batches => (
                "Batches",
                "pgbench inserts a hundred such rows in one statement.",
                "--part batches",
            ),
            Part::Queries => (
                "Queries",
                "pgbench counts the events of a correlation and selects its first page; 20 events a correlation.",
                "--part queries",
            ),
            Part::Outages => (
                "Faults",
                "What was answered 201 or 202, counted against the rows of the table, at most 3 minutes after the fault.",
                "--part outages",
            ),
        };
        let Measured {
            day,
            machine,
            postgresql,
            command: more,
            ..
        } = measured;
        let _ = writeln!(
            text,
            "### {title}\n\n{note} {day}, {machine}, PostgreSQL {postgresql}, commits on disk; load, service and database \
             share the machine.\n\n```\ncargo xtask bench datastorage {command} {more}\n```\n"
        );
        text.push_str(&figures(measured));
        text.push_str(&latencies(measured));
    }
    text
}

fn figures(measured: &Measured) -> String {
    let (pairs, single): (Vec<_>, Vec<_>) =
        measured.figures.iter().partition(|figure| figure.sides.is_some());
    let mut text = String::new();
    if !pairs.is_empty() {
        text.push_str("| median of the rounds | DataStorage | compared with | ratio (of each round) | wanted | holds |\n");
        text.push_str("|---|---:|---:|---:|---:|---|\n");
    }
    for figure in pairs {
        let (service, limit) = figure
            .sides
            .as_ref()
            .map_or((0.0, 0.0), |(service, limit)| (median(service), median(limit)));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            figure.name,
            number(service),
            number(limit),
            spread(figure),
            wanted(figure),
            holds(figure)
        );
    }
    if !single.is_empty() {
        text.push_str("\n| what | figure (of each round) | wanted | holds |\n|---|---:|---:|---|\n");
    }
    for figure in single {
        let _ = writeln!(
            text,
            "| {} | {} {} | {} | {} |",
            figure.name,
            spread(figure),
            figure.unit,
            wanted(figure),
            holds(figure)
        );
    }
    text.push('\n');
    text
}

fn latencies(measured: &Measured) -> String {
    if measured.latencies.is_empty() {
        return String::new();
    }
    let mut text = String::from("| latency, ms | p50 | p95 | p99 | max |\n|---|---:|---:|---:|---:|\n");
    for latency in &measured.latencies {
        let load = &latency.load;
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.2} | {:.1} |",
            latency.name, load.p50_ms, load.p95_ms, load.p99_ms, load.max_ms
        );
    }
    text.push('\n');
    text
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.fract() == 0.0 {
        format!("{value}")
    } else {
        format!("{value:.2}")
    }
}

fn spread(figure: &Figure) -> String {
    let value = number(figure.value());
    match figure.runs.as_slice() {
        [] | [_] => value,
        runs => {
            let runs: Vec<String> = runs.iter().map(|run| number(*run)).collect();
            format!("**{value}** ({})", runs.join(", "))
        }
    }
}

fn wanted(figure: &Figure) -> String {
    figure.target.map_or_else(String::new, |target| target.shown())
}

fn holds(figure: &Figure) -> &'static str {
    match figure.holds() {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "",
    }
}

/// Replaces this bench's section of the page, and its plots.
pub(super) fn write(record: &Record) -> anyhow::Result<()> {
    let plots = write_plots(record, &workspace::root().join("docs").join(PLOTS))?;
    let section = Section {
        bench: "datastorage",
        heading: "DataStorage",
        text: &format!("{plots}{}", markdown(record)),
    };
    section.write()
}

fn write_plots(record: &Record, folder: &Path) -> anyhow::Result<String> {
    fs::create_dir_all(folder)?;
    let mut shown = String::new();
    for (part, file, title, ours, theirs) in [
        (
            Part::Writes,
            "datastorage-writes.svg",
            "Single writes a second by number of connections",
            "DataStorage (HTTP, chain, ids)",
            "pgbench (bare INSERT)",
        ),
        (
            Part::Queries,
            "datastorage-queries.svg",
            "First page of a correlation, ms by rows of the table",
            "median",
            "95 %",
        ),
    ] {
        let Some(measured) = record.parts.get(&part) else {
            continue;
        };
        let points = |side: fn(&Point) -> &Vec<f64>| {
            measured
                .curve
                .iter()
                .map(|point| (point.0, median(side(point))))
                .collect()
        };
        let lines = [
            Line {
                name: ours,
                colour: "#0b57d0",
                points: points(|point| &point.1),
            },
            Line {
                name: theirs,
                colour: "#8a5a00",
                points: points(|point| &point.2),
            },
        ];
        fs::write(folder.join(file), plot::svg(title, &lines))?;
        let _ = writeln!(shown, "![{title}]({PLOTS}/{file})\n");
    }
    Ok(shown)
}
