//! `JUnit` XML: one suite, a case a file, a failure for its errors; warnings are in the case's output.

use std::fmt::Write;

use crate::Report;
use crate::model::{File, Finding, Level};

pub(crate) fn render(report: &Report) -> String {
    let failed = |file: &&File| file.findings.iter().any(|each| each.level == Level::Error);
    let unread = |file: &&File| file.not_judged.iter().any(|each| each.unreadable);
    let failures = report.files.iter().filter(failed).count();
    let errors = report
        .files
        .iter()
        .filter(|file| unread(file) && !failed(file))
        .count();
    let skipped = report.files.iter().filter(|file| is_skipped(file)).count();
    let tests = report.files.len();
    let counts =
        format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"");
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"lint-images\" {counts}>\n  <testsuite name=\"lint-images\" {counts}>\n"
    );
    for file in &report.files {
        case(&mut out, file);
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// A template and nothing else.
fn is_skipped(file: &File) -> bool {
    file.uses.is_empty() && file.findings.is_empty() && file.not_judged.iter().any(|each| !each.unreadable)
}

fn case(out: &mut String, file: &File) {
    let mut body = String::new();
    // Writing to a String can't fail.
    let errors: Vec<&Finding> = file
        .findings
        .iter()
        .filter(|each| each.level == Level::Error)
        .collect();
    let warnings: Vec<&Finding> = file
        .findings
        .iter()
        .filter(|each| each.level != Level::Error)
        .collect();
    let reasons: Vec<&str> = file.not_judged.iter().map(|each| each.reason.as_str()).collect();
    if let Some(first) = errors.first() {
        let (message, text) = (escape(&first.message), escape(&lines(file, &errors)));
        let _ = write!(
            body,
            "\n      <failure message=\"{message}\" type=\"{}\">{text}</failure>",
            first.rule
        );
    } else if file.not_judged.iter().any(|each| each.unreadable) {
        let _ = write!(
            body,
            "\n      <error message=\"{}\" type=\"unreadable\"/>",
            escape(&reasons.join("; "))
        );
    } else if is_skipped(file) {
        let _ = write!(
            body,
            "\n      <skipped message=\"{}\"/>",
            escape(&reasons.join("; "))
        );
    }
    if !warnings.is_empty() {
        let _ = write!(
            body,
            "\n      <system-out>{}</system-out>",
            escape(&lines(file, &warnings))
        );
    }
    let name = escape(&file.path);
    let end = if body.is_empty() {
        "/>".to_owned()
    } else {
        format!(">{body}\n    </testcase>")
    };
    let _ = writeln!(
        out,
        "    <testcase classname=\"lint-images\" name=\"{name}\"{end}"
    );
}

fn lines(file: &File, findings: &[&Finding]) -> String {
    let mut text = String::new();
    for each in findings {
        let at = format!("{}:{}:{}", file.path, each.place.line, each.place.column);
        let _ = writeln!(
            text,
            "{at}: {}[{}]: {}",
            each.level.name(),
            each.rule,
            each.message
        );
        for line in &each.help {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// XML's own characters as entities; control characters, which XML has not, as the replacement character.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for next in text.chars() {
        match next {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push('\t'),
            next if next.is_control() || matches!(next, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            next => out.push(next),
        }
    }
    out
}
