//! Text: `path:line:column: level[rule]: message`, the source line with the span marked, and help.

use std::fmt::Write;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level as Decoration, Renderer, Snippet};

use crate::Report;
use crate::model::{File, Finding, Level};

pub(crate) fn render(report: &Report, color: bool) -> String {
    let mut out = String::new();
    for file in &report.files {
        for finding in &file.findings {
            show(&mut out, file, finding, color);
            out.push('\n');
        }
    }
    out
}

fn show(out: &mut String, file: &File, finding: &Finding, color: bool) {
    let Finding {
        rule,
        level,
        location,
        message,
        help,
        ..
    } = finding;
    let (bold, level_colour, reset) = match (color, level) {
        (false, _) => ("", "", ""),
        (true, Level::Error) => ("\x1b[1m", "\x1b[1;31m", "\x1b[0m"),
        (true, _) => ("\x1b[1m", "\x1b[1;33m", "\x1b[0m"),
    };
    let at = format!("{}:{}:{}", file.path, location.line, location.column);
    let level = level.name();
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        "{bold}{at}:{reset} {level_colour}{level}[{rule}]{reset}{bold}: {message}{reset}"
    );
    if !location.span.is_empty() {
        let shown = snippet(&file.text, &file.path, location.span.clone(), color);
        let _ = writeln!(out, "{}", shown.trim_end());
    }
    for line in help {
        let _ = writeln!(out, "{bold}help:{reset} {line}");
    }
}

/// Returns the lines of a span with the span marked.
pub(crate) fn snippet(text: &str, path: &str, span: Range<usize>, color: bool) -> String {
    // Pass only the lines of the span: the renderer would scan a long file for each finding.
    let start = text[..span.start.min(text.len())]
        .rfind('\n')
        .map_or(0, |at| at + 1);
    let end = text
        .get(span.end..)
        .and_then(|rest| rest.find('\n'))
        .map_or(text.len(), |at| span.end + at);
    let Some(lines) = text.get(start..end) else {
        return String::new();
    };
    let number = text[..start].matches('\n').count() + 1;
    let inner = span.start - start..span.end - start;
    let annotation = AnnotationKind::Primary.span(inner);
    let source = Snippet::source(lines)
        .line_start(number)
        .path(path)
        .fold(true)
        .annotation(annotation);
    let report = [Group::with_level(Decoration::ERROR).element(source)];
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let shown = renderer.render(&report);
    // The finding's first line has the location already, in the form that editors and terminals link.
    shown
        .lines()
        .filter(|line| !line.contains("--> "))
        .collect::<Vec<_>>()
        .join("\n")
}
