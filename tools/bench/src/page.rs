//! Sections of docs/benchmarks.md that are generated, between `<!-- bench NAME: begin -->` and `end`.

use std::fs;

use anyhow::{Context, ensure};

use crate::workspace;

const PAGE: &str = "docs/benchmarks.md";
/// Width of a line of Markdown.
const COLUMNS: usize = 100;

/// Generated section of a bench.
pub(crate) struct Section<'a> {
    /// Name in its markers.
    pub(crate) bench: &'a str,
    /// Heading above the section when the page has none yet.
    pub(crate) heading: &'a str,
    pub(crate) text: &'a str,
}

impl Section<'_> {
    /// Replaces the section on the page, or appends it.
    ///
    /// # Errors
    /// When the page can't be read or written, or has subsections (`### …`) that the new text lacks: their records are
    /// in another target folder, and their figures would be lost.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let path = workspace::root().join(PAGE);
        let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lost = self.lost(&page);
        ensure!(
            lost.is_empty(),
            "cannot write {PAGE}: no record of {} in this target folder; measure it here too, or remove it from the page",
            lost.join(", ")
        );
        fs::write(&path, self.replaced(&page)).with_context(|| format!("cannot write {}", path.display()))
    }

    fn markers(&self) -> (String, String) {
        let bench = self.bench;
        (
            format!("<!-- bench {bench}: begin -->"),
            format!("<!-- bench {bench}: end -->"),
        )
    }

    /// Page before and after the section, and the section between its markers.
    fn split<'p>(&self, page: &'p str) -> Option<(&'p str, &'p str, &'p str)> {
        let (begin, end) = self.markers();
        let (before, rest) = page.split_once(&begin)?;
        let (section, after) = rest.split_once(&end)?;
        Some((before, section, after))
    }

    /// Headings of subsections that the page has and the new text lacks.
    fn lost<'p>(&self, page: &'p str) -> Vec<&'p str> {
        let old = self.split(page).map_or("", |(_, section, _)| section).lines();
        old.filter(|line| line.starts_with("### ") && !self.text.lines().any(|each| each == *line))
            .collect()
    }

    fn replaced(&self, page: &str) -> String {
        let (begin, end) = self.markers();
        let section = format!("{begin}\n\n{}\n\n{end}", wrapped(self.text.trim()));
        match self.split(page) {
            Some((before, _, after)) => format!("{before}{section}{after}"),
            None => format!("{}\n\n## {}\n\n{section}\n", page.trim_end(), self.heading),
        }
    }
}

/// Wraps prose at the width of the project's pages; tables, headings, pictures and code stay as they are.
fn wrapped(text: &str) -> String {
    let mut in_code = false;
    let lines = text.lines().map(|line| {
        in_code ^= line.starts_with("```");
        if in_code || line.starts_with(['|', '#', '!', '`']) {
            return line.to_owned();
        }
        textwrap::fill(line, textwrap::Options::new(COLUMNS).break_words(false))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Section<'_> {
        Section {
            bench: "x",
            heading: "X",
            text,
        }
    }

    #[test]
    fn replaces_only_the_section_of_the_bench() {
        let page = "# A\n<!-- bench x: begin -->\nold\n<!-- bench x: end -->\n# B\n";
        let replaced = section("new\n").replaced(page);
        assert_eq!(
            replaced,
            "# A\n<!-- bench x: begin -->\n\nnew\n\n<!-- bench x: end -->\n# B\n"
        );
        assert_eq!(section("new\n").replaced(&replaced), replaced);
    }

    #[test]
    fn wraps_prose_only() {
        let long = "word ".repeat(40);
        let table = format!("| {} |", "x".repeat(200));
        let text = wrapped(&format!("{long}\n{table}\n```\n{long}\n```"));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[..2].iter().all(|line| line.len() <= COLUMNS), "{text}");
        assert_eq!(lines[2..], [table.as_str(), "```", long.as_str(), "```"]);
    }

    #[test]
    fn appends_a_missing_section_under_its_heading() {
        let page = section("new").replaced("# A\n");
        assert!(
            page.starts_with("# A\n\n## X\n\n<!-- bench x: begin -->"),
            "{page}"
        );
        assert_eq!(section("new").replaced(&page), page);
    }

    #[test]
    fn finds_subsections_that_would_be_lost() {
        let page = section("### Writes\n\n1\n\n### Queries\n\n2").replaced("# A\n");
        assert_eq!(section("### Writes\n\n3").lost(&page), ["### Queries"]);
        assert_eq!(section("### Queries\n\n### Writes").lost(&page), [""; 0]);
        assert_eq!(section("### Writes").lost("# A\n"), [""; 0]);
    }
}
