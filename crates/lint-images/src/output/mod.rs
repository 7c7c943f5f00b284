//! What is printed: findings for people, tools and services.

mod github;
mod json;
mod junit;
mod sarif;
pub(crate) mod text;

use std::io::{self, Write};

use clap::ValueEnum;

use crate::Report;

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: each finding with its line, what is allowed and the edit to make.
    Text,
    /// One JSON document with all references and findings (docs/lint-images.md).
    Json,
    /// SARIF 2.1.0, for code scanning services.
    Sarif,
    /// Workflow commands that annotate a pull request's lines.
    Github,
    /// `JUnit` XML: a test suite with a case a file.
    Junit,
}

impl Format {
    /// Whether it shows the text of files.
    pub(crate) fn shows_text(self) -> bool {
        matches!(self, Format::Text | Format::Sarif)
    }
}

/// Writes a report.
pub(crate) fn write(
    report: &Report,
    format: Format,
    colour: bool,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    let text = match format {
        Format::Json => return json::write(report, out),
        Format::Text => text::render(report, colour),
        Format::Sarif => sarif::render(report),
        Format::Github => github::render(report),
        Format::Junit => junit::render(report),
    };
    out.write_all(text.as_bytes())
}

/// Pretty JSON with a line feed at its end.
pub(crate) fn pretty(value: &impl serde::Serialize) -> String {
    // Strings and numbers in maps with text keys: there is nothing in it that can't be written.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
