//! Text: `path:line:column: level[rule]: message`, the source line with the span marked, and help.

use std::borrow::Cow;
use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

use crate::Report;
use crate::model::{File, Finding, Level, Location};

pub(crate) fn render(report: &Report, color: bool) -> String {
    let mut out = String::new();
    for file in &report.files {
        for finding in &file.findings {
            show(&mut out, file, finding, Colours::new(color, finding.level));
            out.push('\n');
        }
    }
    out
}

/// Escape sequences, empty without colour.
#[derive(Clone, Copy)]
struct Colours {
    bold: &'static str,
    level: &'static str,
    reset: &'static str,
}

impl Colours {
    const NONE: Colours = Colours {
        bold: "",
        level: "",
        reset: "",
    };

    fn new(color: bool, level: Level) -> Colours {
        let level = match level {
            Level::Error => "\x1b[1;31m",
            _ => "\x1b[1;33m",
        };
        match color {
            true => Colours {
                bold: "\x1b[1m",
                level,
                reset: "\x1b[0m",
            },
            false => Colours::NONE,
        }
    }
}

fn show(out: &mut String, file: &File, finding: &Finding, colours: Colours) {
    let Finding {
        rule,
        location,
        message,
        help,
        ..
    } = finding;
    let Colours {
        bold,
        level: level_colour,
        reset,
    } = colours;
    let (path, message) = (printable(&file.path), printable(message));
    let (line, column, level) = (location.line, location.column, finding.level.name());
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        "{bold}{path}:{line}:{column}:{reset} {level_colour}{level}[{rule}]{reset}{bold}: {message}{reset}"
    );
    if !location.span.is_empty() {
        mark(out, &file.text, location, colours);
    }
    for line in help {
        let _ = writeln!(out, "{bold}help:{reset} {}", printable(line));
    }
}

/// Returns a text without control characters, which a terminal would execute: file names and images are not ours.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    match text.contains(char::is_control) {
        false => Cow::Borrowed(text),
        true => {
            let escaped = |char: char| match char.is_control() {
                true => char.escape_default().to_string(),
                false => char.to_string(),
            };
            Cow::Owned(text.chars().map(escaped).collect())
        }
    }
}

/// Returns the line of a location with the span marked.
pub(crate) fn snippet(text: &str, location: &Location) -> String {
    let mut out = String::new();
    mark(&mut out, text, location, Colours::NONE);
    out
}

/// Maximum number of bytes before and after a span that are shown, and of the span.
const MAX_CONTEXT: usize = 160;
const MAX_SPAN: usize = 400;

/// Appends the first line of a span, with the span marked. Long lines are cut.
fn mark(out: &mut String, text: &str, location: &Location, colours: Colours) {
    let Colours { bold, level, reset } = colours;
    let span = location.span.clone();
    let Some(first) = text.get(span.clone()).and_then(|marked| marked.lines().next()) else {
        return;
    };
    let marked = &first[..first.floor_char_boundary(MAX_SPAN)];
    let from = text.ceil_char_boundary(span.start.saturating_sub(MAX_CONTEXT));
    let before = &text[from.min(span.start)..span.start];
    let (cut, before) = match before.rfind('\n') {
        Some(at) => ("", &before[at + 1..]),
        None if from == 0 => ("", before),
        None => ("…", before),
    };
    let after = &text[span.start + marked.len()..];
    let after = &after[..after.floor_char_boundary(MAX_CONTEXT)];
    let after = after.split(['\n', '\r']).next().unwrap_or_default();
    let number = location.line.to_string();
    let gutter = " ".repeat(number.len());
    let (before, marked, after) = (visible(before), visible(marked), visible(after.trim_end()));
    let indent = " ".repeat(cut.chars().count() + width(&before));
    let carets = "^".repeat(width(&marked).max(1));
    let line = format!("{cut}{before}{marked}{after}");
    let _ = writeln!(
        out,
        "{gutter} {bold}|{reset}\n{bold}{number} |{reset} {}\n{gutter} {bold}|{reset} {indent}{level}{carets}{reset}",
        line.trim_end()
    );
}

/// Replaces tabs by spaces, and other control characters by their pictures.
fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\t' => shown.push_str("    "),
            '\0'..='\u{1f}' => shown.push(char::from_u32(0x2400 + u32::from(char)).unwrap_or('\u{fffd}')),
            char if char.is_control() => shown.push('\u{fffd}'),
            char => shown.push(char),
        }
    }
    Cow::Owned(shown)
}

fn width(text: &str) -> usize {
    match text.is_ascii() {
        true => text.len(),
        false => text.chars().map(|char| char.width().unwrap_or(0)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, marked: &str) -> String {
        let start = text.find(marked).unwrap();
        let location = Location {
            line: 7,
            column: 1,
            span: start..start + marked.len(),
        };
        snippet(text, &location)
    }

    #[test]
    fn marks_the_span() {
        assert_eq!(
            shown("a\n\tFROM été\r\nb", "été"),
            "  |\n7 |     FROM été\n  |          ^^^\n"
        );
        assert_eq!(shown("x 日本 y", "y"), "  |\n7 | x 日本 y\n  |        ^\n");
        assert_eq!(shown("a \x1b[31mb\n", "b"), "  |\n7 | a ␛[31mb\n  |        ^\n");
    }

    #[test]
    fn cuts_long_lines() {
        let text = format!("{}image{}", "x".repeat(10_000), "y".repeat(10_000));
        let shown = shown(&text, "image");
        assert!(shown.len() < 800, "{shown}");
        assert!(shown.contains("…xxx") && shown.contains("xximageyy"), "{shown}");
    }

    #[test]
    fn prints_no_control_characters() {
        assert_eq!(printable("a\x1b[31m\nb"), "a\\u{1b}[31m\\nb");
        assert_eq!(printable("été"), "été");
    }
}
