//! Section of docs/benchmarks.md, and its plots.

use std::fmt::Write as _;

use super::Part;
use super::record::{Measured, Point, Record};
use crate::figures::{Figure, median};
use crate::page::Section;
use crate::plot::{self, Line};

/// Returns the tables of all measured parts.
pub(super) fn markdown(record: &Record) -> String {
    let mut text = String::new();
    for (part, measured) in &record.parts {
        let (title, note, command) = match part {
            Part::Writes => (
                "Writes",
                "pgbench inserts the same row into the same table, one per transaction, without hash chain, table of ids or HTTP.",
                "--part writes",
            ),
            Part::Batches => (
                "Batches",
                "pgbench inserts a hundred such rows per statement.",
                "--part batches",
            ),
            Part::Queries => (
                "Queries",
                "pgbench counts the events of a correlation and selects its first page; 20 events per correlation.",
                "--part queries",
            ),
            Part::Outages => (
                "Faults",
                "Events acknowledged by 201 or 202, compared with the rows of the table within 3 minutes of the fault.",
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
            "### {title}\n\n{note} {day}, {machine}, PostgreSQL {postgresql}, synchronous commits; load, service and database \
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
        text.push_str(
            "| median of the rounds | DataStorage | reference | ratio (of each round) | target | met |\n",
        );
        text.push_str("|---|---:|---:|---:|---:|---|\n");
    }
    for figure in pairs {
        let (service, reference) = figure.sides.as_ref().map_or((0.0, 0.0), |(service, reference)| {
            (median(service), median(reference))
        });
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            figure.name,
            number(service),
            number(reference),
            spread(figure),
            figure.target_cells("")
        );
    }
    if !single.is_empty() {
        text.push_str("\n| figure | median (of each round) | target | met |\n|---|---:|---:|---|\n");
    }
    for figure in single {
        let _ = writeln!(
            text,
            "| {} | {} {} | {} |",
            figure.name,
            spread(figure),
            figure.unit,
            figure.target_cells("")
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

/// Replaces this bench's section of the page, and its plots.
pub(super) fn write(record: &Record) -> anyhow::Result<()> {
    let plots = write_plots(record)?;
    let section = Section {
        bench: "datastorage",
        heading: "DataStorage",
        text: &format!("{plots}{}", markdown(record)),
    };
    section.write()
}

fn write_plots(record: &Record) -> anyhow::Result<String> {
    let mut shown = String::new();
    for (part, file, title, service, reference) in [
        (
            Part::Writes,
            "datastorage-writes",
            "Single writes per second by number of connections",
            "DataStorage (HTTP, chain, ids)",
            "pgbench (bare INSERT)",
        ),
        (
            Part::Queries,
            "datastorage-queries",
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
                name: service,
                colour: "#0b57d0",
                points: points(|point| &point.1),
            },
            Line {
                name: reference,
                colour: "#8a5a00",
                points: points(|point| &point.2),
            },
        ];
        let _ = writeln!(
            shown,
            "{}",
            plot::write(file, title, &plot::lines(title, &lines))?
        );
    }
    Ok(shown)
}
