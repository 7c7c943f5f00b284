//! Checkstyle XML, which many tools of code review read.

use std::fmt::Write;

use junit::Attribute;

use crate::Report;
use crate::model::Level;

pub(crate) fn render(report: &Report) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<checkstyle version=\"4.3\">\n");
    for file in report.files.iter().filter(|file| !file.findings.is_empty()) {
        // Writing to a String can't fail.
        let _ = writeln!(out, "  <file name=\"{}\">", Attribute(&file.path));
        for each in &file.findings {
            let severity = if each.level == Level::Error {
                "error"
            } else {
                "warning"
            };
            let lines: Vec<&str> = each.lines().collect();
            let _ = writeln!(
                out,
                "    <error line=\"{}\" column=\"{}\" severity=\"{severity}\" message=\"{}\" source=\"lint-images.{}\"/>",
                each.location.line.max(1),
                each.location.column.max(1),
                Attribute(&lines.join("\n")),
                each.rule,
            );
        }
        out.push_str("  </file>\n");
    }
    out + "</checkstyle>\n"
}
