//! `JUnit` XML: a suite with one case per file. Errors fail the case; warnings are in its output.

use std::fmt::Write;

use junit::{Case, Outcome, Suite, Suites};

use crate::Report;
use crate::model::{File, Finding, Level};

const NAME: &str = "lint-images";

pub(crate) fn render(report: &Report) -> String {
    let suites = Suites {
        name: NAME.to_owned(),
        time: None,
        suites: vec![Suite::new(NAME, report.files.iter().map(case).collect())],
    };
    suites.to_xml()
}

fn case(file: &File) -> Case {
    let (errors, warnings): (Vec<&Finding>, Vec<&Finding>) =
        file.findings.iter().partition(|each| each.level == Level::Error);
    Case {
        outcome: outcome(file, &errors),
        output: lines(file, &warnings),
        ..Case::new(NAME, &file.path)
    }
}

fn outcome(file: &File, errors: &[&Finding]) -> Outcome {
    let reasons: Vec<&str> = file.skipped.iter().map(|each| each.reason.as_str()).collect();
    let message = reasons.join("; ");
    if let Some(first) = errors.first() {
        Outcome::Failed {
            kind: Some(first.rule.to_string()),
            message: first.message.to_string(),
            text: lines(file, errors),
        }
    } else if file.skipped.iter().any(|each| each.unreadable) {
        Outcome::Error {
            kind: Some("unreadable".to_owned()),
            message,
        }
    } else if file.uses.is_empty() && file.findings.is_empty() && !file.skipped.is_empty() {
        // The file has templates only.
        Outcome::Skipped { message }
    } else {
        Outcome::Passed
    }
}

fn lines(file: &File, findings: &[&Finding]) -> String {
    let mut text = String::new();
    for each in findings {
        let at = format!("{}:{}:{}", file.path, each.location.line, each.location.column);
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
