//! One JSON document: all references and findings (docs/lint-images.md has the shape).

use serde::Serialize;

use crate::Report;
use crate::model::{File, Finding, NotJudged, Use};

#[derive(Serialize)]
struct Document<'a> {
    files: usize,
    references: Vec<Reference<'a>>,
    findings: Vec<Complaint<'a>>,
    not_judged: Vec<Skipped<'a>>,
}

#[derive(Serialize)]
struct Reference<'a> {
    path: &'a str,
    line: usize,
    column: usize,
    kind: &'a str,
    role: &'a str,
    stage: Option<&'a str>,
    raw: &'a str,
    expanded: Option<&'a str>,
    normalized: Option<String>,
    error: Option<&'a str>,
    token_line: usize,
}

#[derive(Serialize)]
struct Complaint<'a> {
    path: &'a str,
    line: usize,
    column: usize,
    rule: &'a str,
    level: &'a str,
    message: &'a str,
    help: String,
    edit: Option<Suggestion<'a>>,
}

#[derive(Serialize)]
struct Suggestion<'a> {
    text: &'a str,
    certain: bool,
}

#[derive(Serialize)]
struct Skipped<'a> {
    path: &'a str,
    line: Option<usize>,
    reason: &'a str,
    unreadable: bool,
}

pub(crate) fn render(report: &Report) -> String {
    let files = || report.files.iter();
    super::pretty(&Document {
        files: report.read,
        references: files()
            .flat_map(|file| file.uses.iter().map(move |each| reference(file, each)))
            .collect(),
        findings: files()
            .flat_map(|file| file.findings.iter().map(move |each| complaint(file, each)))
            .collect(),
        not_judged: files()
            .flat_map(|file| file.not_judged.iter().map(move |each| skipped(file, each)))
            .collect(),
    })
}

fn reference<'a>(file: &'a File, each: &'a Use) -> Reference<'a> {
    Reference {
        path: &file.path,
        line: each.line,
        column: each.place.column,
        kind: each.kind,
        role: each.role.name(),
        stage: each.stage.as_deref(),
        raw: &each.raw,
        expanded: each.expanded.as_deref(),
        normalized: each.image.as_ref().ok().map(ToString::to_string),
        error: each.image.as_ref().err().map(|reason| reason.reason()),
        token_line: each.place.line,
    }
}

fn complaint<'a>(file: &'a File, each: &'a Finding) -> Complaint<'a> {
    Complaint {
        path: &file.path,
        line: each.place.line,
        column: each.place.column,
        rule: each.rule.id(),
        level: each.level.name(),
        message: &each.message,
        help: each.help.join("\n"),
        edit: each.edit.as_ref().map(|edit| Suggestion {
            text: &edit.text,
            certain: edit.certain,
        }),
    }
}

fn skipped<'a>(file: &'a File, each: &'a NotJudged) -> Skipped<'a> {
    Skipped {
        path: &file.path,
        line: each.line,
        reason: &each.reason,
        unreadable: each.unreadable,
    }
}
