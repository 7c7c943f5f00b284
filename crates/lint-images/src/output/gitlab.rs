//! Code quality report of GitLab: one JSON array.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Report;
use crate::model::Level;
use crate::policy::about;

pub(crate) fn render(report: &Report) -> String {
    let mut entries: Vec<Value> = Vec::new();
    for file in &report.files {
        let mut repeated: BTreeMap<String, usize> = BTreeMap::new();
        for each in &file.findings {
            let lines: Vec<&str> = each.lines().collect();
            // Independent of the line, so that a moved finding is the same.
            let key = format!("{}\n{}\n{}", file.path, each.rule, about(file, each));
            let count = repeated.entry(key.clone()).or_default();
            *count += 1;
            entries.push(json!({
                "description": lines.join("\n"),
                "check_name": format!("lint-images/{}", each.rule),
                "fingerprint": format!("{:016x}", fingerprint(&format!("{key}\n{count}"))),
                "severity": if each.level == Level::Error { "major" } else { "minor" },
                "location": { "path": file.path, "lines": { "begin": each.location.line.max(1) } },
            }));
        }
    }
    super::pretty(&entries)
}

/// Returns the FNV-1a hash, which is the same in all versions.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
