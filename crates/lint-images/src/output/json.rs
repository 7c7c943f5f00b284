//! One JSON document: all references and findings (docs/lint-images.md has the shape). It is written as it is made,
//! since that of a large tree is larger than all that it is about.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use crate::Report;
use crate::model::{File, Finding, NotJudged, Use};

#[derive(Serialize)]
struct Document<'a> {
    files: usize,
    references: Each<'a, Reference<'a>>,
    findings: Each<'a, Complaint<'a>>,
    not_judged: Each<'a, Skipped<'a>>,
}

/// An array of what a function makes of each file.
struct Each<'a, T> {
    report: &'a Report,
    of_file: fn(&'a File) -> Box<dyn Iterator<Item = T> + 'a>,
}

impl<T: Serialize> Serialize for Each<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.report.files.iter().flat_map(self.of_file))
    }
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

pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        files: report.read,
        references: Each {
            report,
            of_file: |file| Box::new(file.uses.iter().map(|each| reference(file, each))),
        },
        findings: Each {
            report,
            of_file: |file| Box::new(file.findings.iter().map(|each| complaint(file, each))),
        },
        not_judged: Each {
            report,
            of_file: |file| Box::new(file.not_judged.iter().map(|each| skipped(file, each))),
        },
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    out.write_all(b"\n")
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
