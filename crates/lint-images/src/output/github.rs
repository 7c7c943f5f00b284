//! Workflow commands of GitHub: `::error file=…,line=…,col=…,title=…::message`.

use std::fmt::Write;

use super::text::printable;
use crate::Report;
use crate::model::Level;

pub(crate) fn render(report: &Report) -> String {
    let mut out = String::new();
    for file in &report.files {
        for each in &file.findings {
            let command = if each.level == Level::Error {
                "error"
            } else {
                "warning"
            };
            let message: Vec<_> = each.lines().map(printable).collect();
            // Writing to a String can't fail.
            let _ = writeln!(
                out,
                "::{command} file={},line={},col={},title=lint-images {}::{}",
                property(&printable(&file.path)),
                each.location.line.max(1),
                each.location.column.max(1),
                each.rule,
                data(&message.join("\n")),
            );
        }
    }
    out
}

/// Percent-encodes the characters that end the text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
