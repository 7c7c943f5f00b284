//! The part of docs/benchmarks.md, and its plots.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::Part;
use super::plot::{self, Line};
use super::record::{Figure, Measured, Record, median};
use crate::run_folder;

/// Where a point of a curve is on its axis, and what was measured there of ours and of theirs.
type Point = (f64, Vec<f64>, Vec<f64>);

const PAGE: &str = "docs/benchmarks.md";
const BEGIN: &str = "<!-- bench datastorage: begin -->";
const END: &str = "<!-- bench datastorage: end -->";
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

/// Replaces this bench's part of the page, and its plots.
pub(super) fn renew(record: &Record) -> anyhow::Result<()> {
    let path = run_folder::workspace().join(PAGE);
    let page = fs::read_to_string(&path)
        .unwrap_or_else(|_| "# Benchmarks\n\nEvery figure with the command that made it.\n".to_owned());
    let tables = markdown(record);
    let lost = lost(&page, &tables);
    anyhow::ensure!(
        lost.is_empty(),
        "{PAGE} has {}, which was measured elsewhere: its record is not in this target folder, and it would be lost. \
         Measure it here too (--part), or take it off the page; what was measured now is kept",
        lost.join(", ")
    );
    let folder = run_folder::workspace().join("docs").join(PLOTS);
    let plots = write_plots(record, &folder)?;
    let page = replaced(&page, &format!("{plots}{tables}"));
    fs::write(&path, page).with_context(|| format!("can't write {}", path.display()))
}

/// The headings of a page's own part that a text has not: what was measured, and whose record is not here any more.
fn lost<'a>(page: &'a str, text: &str) -> Vec<&'a str> {
    let part = page.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let headings = part.map_or("", |(part, _)| part).lines();
    headings
        .filter(|line| line.starts_with("### ") && !text.lines().any(|each| each == *line))
        .collect()
}

/// The page with a new part; at the end, with a heading, if it had none.
fn replaced(page: &str, text: &str) -> String {
    let part = format!("{BEGIN}\n\n{}\n\n{END}", text.trim());
    let split = page
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    match split {
        Some((before, after)) => format!("{before}{part}{after}"),
        None => format!("{}\n\n## DataStorage\n\n{part}\n", page.trim_end()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_was_measured_elsewhere_is_not_dropped_unsaid() {
        let page = replaced("# A\n", "### Writes\n\n1\n\n### Queries\n\n2");
        assert_eq!(lost(&page, "### Writes\n\n3"), ["### Queries"]);
        assert_eq!(lost(&page, "### Queries\n\n### Writes"), [""; 0]);
        assert_eq!(lost("# A\n", "### Writes"), [""; 0]);
    }

    #[test]
    fn only_its_own_part_of_the_page_is_renewed() {
        let first = replaced("# A\n", "old");
        assert_eq!(
            first,
            format!("# A\n\n## DataStorage\n\n{BEGIN}\n\nold\n\n{END}\n")
        );
        let page = format!("{first}# B\n");
        assert_eq!(
            replaced(&page, "new\n"),
            format!("# A\n\n## DataStorage\n\n{BEGIN}\n\nnew\n\n{END}\n# B\n")
        );
    }
}
