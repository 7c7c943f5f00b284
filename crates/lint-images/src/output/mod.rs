//! Output formats.

mod checkstyle;
mod github;
mod gitlab;
mod json;
mod junit;
mod sarif;
pub(crate) mod text;

use std::io::{self, Write};

use clap::ValueEnum;

use crate::Report;

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Each finding with its source line, allowed values and suggested edit.
    Text,
    /// JSON document with all references and findings (docs/lint-images.md).
    Json,
    /// SARIF 2.1.0, for code scanning services.
    Sarif,
    /// Workflow commands of GitHub, which annotate the lines of a pull request.
    Github,
    /// `JUnit` XML: a test suite with one case per file.
    Junit,
    /// Code quality report of GitLab.
    Gitlab,
    /// Checkstyle XML, for tools of code review.
    Checkstyle,
}

impl Format {
    /// Whether the output contains text of the files.
    pub(crate) fn shows_text(self) -> bool {
        matches!(self, Format::Text | Format::Sarif)
    }
}

/// Writes a report in a format.
pub(crate) fn write(
    report: &Report,
    format: Format,
    color: bool,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    let text = match format {
        Format::Json => return json::write(report, out),
        Format::Text => text::render(report, color),
        Format::Sarif => sarif::render(report),
        Format::Github => github::render(report),
        Format::Junit => junit::render(report),
        Format::Gitlab => gitlab::render(report),
        Format::Checkstyle => checkstyle::render(report),
    };
    out.write_all(text.as_bytes())
}

/// Returns indented JSON with a line feed at the end.
pub(crate) fn pretty(value: &impl serde::Serialize) -> String {
    // Values with string keys always serialize.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
