//! The figures as a table, each beside what is wanted of it, and their part of docs/benchmarks.md.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, bail};

const PAGE: &str = "docs/benchmarks.md";
const HEADING: &str =
    "# Benchmarks\n\nEach part was written by the command that it names, which makes it again.\n";
const BEGIN: &str = "<!-- bench lint: begin -->";
const END: &str = "<!-- bench lint: end -->";

/// A figure, and whether it is what is wanted.
struct Row {
    what: String,
    figure: String,
    /// The bound, and whether the figure keeps it. None: it is there to be compared with.
    wanted: Option<(String, bool)>,
}

/// Rows of Markdown.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// A figure to compare with.
    pub(super) fn row(&mut self, what: impl Into<String>, figure: impl Into<String>) {
        self.push(what.into(), figure.into(), None);
    }

    /// A figure with a bound.
    pub(super) fn bounded(
        &mut self,
        what: impl Into<String>,
        figure: impl Into<String>,
        bound: &str,
        holds: bool,
    ) {
        self.push(what.into(), figure.into(), Some((bound.to_owned(), holds)));
    }

    fn push(&mut self, what: String, figure: String, wanted: Option<(String, bool)>) {
        eprintln!("{what}: {figure}");
        self.rows.push(Row { what, figure, wanted });
    }

    /// Whether each bound is kept.
    pub(super) fn holds(&self) -> bool {
        self.rows
            .iter()
            .all(|row| row.wanted.as_ref().is_none_or(|(_, holds)| *holds))
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::from("| what | figure | wanted | |\n|---|---:|---:|---|\n");
        for Row { what, figure, wanted } in &self.rows {
            let (wanted, verdict) = match wanted {
                Some((bound, true)) => (bound.as_str(), "held"),
                Some((bound, false)) => (bound.as_str(), "**not held**"),
                None => ("", ""),
            };
            // Writing to a text does not fail.
            let _ = writeln!(text, "| {what} | {figure} | {wanted} | {verdict} |");
        }
        text
    }
}

/// Replaces this bench's part of the page, which is begun where there is none.
pub(super) fn write(workspace: &Path, text: &str) -> anyhow::Result<()> {
    let path = workspace.join(PAGE);
    let page = match fs::read_to_string(&path) {
        Ok(page) => page,
        Err(error) if error.kind() == ErrorKind::NotFound => HEADING.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    };
    let Some(page) = replaced(&page, text) else {
        bail!("{} has {BEGIN} without {END}: write it below", path.display());
    };
    fs::write(&path, page).with_context(|| format!("can't write {}", path.display()))
}

fn replaced(page: &str, text: &str) -> Option<String> {
    let part = format!("{BEGIN}\n\n{}\n\n{END}", text.trim_end());
    match page.split_once(BEGIN) {
        Some((before, rest)) => {
            let (_, after) = rest.split_once(END)?;
            Some(format!("{before}{part}{after}"))
        }
        None => Some(format!("{}\n\n## The linter\n\n{part}\n", page.trim_end())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_part_of_the_page_is_renewed() {
        let first = replaced(HEADING, "old").unwrap();
        let page = format!("{first}\n## Another\n\nas it was\n");
        let renewed = replaced(&page, "new\n").unwrap();
        assert_eq!(renewed, page.replace("\nold\n", "\nnew\n"));
        assert_eq!(replaced(&renewed, "new").unwrap(), renewed);
        assert!(replaced(&format!("# A\n{BEGIN}\n"), "new").is_none());
    }

    #[test]
    fn a_bound_that_is_not_kept_is_said() {
        let mut table = Table::default();
        table.row("reading", "1 ms");
        table.bounded("linting", "2 ms", "< 3 ms", true);
        assert!(table.holds());
        table.bounded("memory", "30 MB", "< 20 MB", false);
        assert!(!table.holds());
        assert!(table.text().contains("| linting | 2 ms | < 3 ms | held |"));
        assert!(
            table
                .text()
                .contains("| memory | 30 MB | < 20 MB | **not held** |")
        );
    }
}
