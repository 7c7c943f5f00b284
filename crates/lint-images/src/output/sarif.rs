//! SARIF 2.1.0.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::Report;
use crate::model::{File, Finding, Level, Rule};

pub(crate) fn render(report: &Report) -> String {
    let rules: Vec<Value> = Rule::ALL.iter().map(|rule| rule_of(*rule, report)).collect();
    let results: Vec<Value> = report
        .files
        .iter()
        .flat_map(|file| file.findings.iter().map(move |each| result(file, each)))
        .collect();
    let notifications: Vec<Value> = report.files.iter().flat_map(notifications).collect();
    super::pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "lint-images",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": !report.is_unreadable(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    }))
}

fn rule_of(rule: Rule, report: &Report) -> Value {
    json!({
        "id": rule.id(),
        "shortDescription": { "text": rule.summary() },
        "fullDescription": { "text": report.citation(rule) },
        "help": { "text": rule.page(), "markdown": rule.page() },
    })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Off => "none",
    }
}

fn location(path: &str, region: Option<Value>) -> Value {
    let mut physical = json!({ "artifactLocation": { "uri": uri(path), "uriBaseId": "%SRCROOT%" } });
    if let (Some(region), Some(object)) = (region, physical.as_object_mut()) {
        object.insert("region".to_owned(), region);
    }
    json!({ "physicalLocation": physical })
}

/// Returns a path as a relative URI.
fn uri(path: &str) -> String {
    /// Characters other than the unreserved ones (RFC 3986) and the slash.
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'.')
        .remove(b'-')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(path, ESCAPED).to_string()
}

fn result(file: &File, finding: &Finding) -> Value {
    // Line 0 is a front end in a JSON document; SARIF counts lines from 1.
    let (line, column) = (finding.location.line.max(1), finding.location.column.max(1));
    let shown = file.text.get(finding.location.span.clone()).unwrap_or_default();
    let one_line = !shown.is_empty() && !shown.contains('\n');
    let region = match one_line {
        true => json!({
            "startLine": line, "startColumn": column, "endLine": line, "endColumn": column + shown.chars().count(),
        }),
        false => json!({ "startLine": line, "startColumn": column }),
    };
    let text: Vec<&str> = finding.lines().collect();
    let mut value = json!({
        "ruleId": finding.rule.id(),
        "ruleIndex": Rule::ALL.iter().position(|rule| *rule == finding.rule),
        "level": level(finding.level),
        "message": { "text": text.join("\n") },
        "locations": [location(&file.path, Some(region.clone()))],
    });
    if let (Some(edit), true, Some(object)) = (&finding.edit, one_line, value.as_object_mut()) {
        let fix = json!([{
            "description": { "text": format!("write {}", edit.text) },
            "artifactChanges": [{
                "artifactLocation": { "uri": uri(&file.path), "uriBaseId": "%SRCROOT%" },
                "replacements": [{ "deletedRegion": region, "insertedContent": { "text": edit.text } }],
            }],
        }]);
        object.insert("fixes".to_owned(), fix);
    }
    value
}

fn notifications(file: &File) -> Vec<Value> {
    file.skipped
        .iter()
        .map(|each| {
            let region = each
                .line
                .filter(|line| *line > 0)
                .map(|line| json!({ "startLine": line }));
            json!({
                "level": if each.unreadable { "error" } else { "note" },
                "message": { "text": format!("skipped: {}", each.reason) },
                "locations": [location(&file.path, region)],
            })
        })
        .collect()
}
