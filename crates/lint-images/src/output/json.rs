//! One JSON document with all references and findings (docs/lint-images.md has its shape).

use std::fmt;
use std::io::{self, Write};

use rayon::prelude::*;
use serde::{Serialize, Serializer};

use crate::Report;
use crate::model::{Edit, File, Finding, Level, Role, Rule, Skipped, Text, Use};

/// Files per piece, and pieces serialized at a time.
const FILES: usize = 32;
const PIECES: usize = 4;
/// Initial capacity of a piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Writes the document in pieces, as it is larger than everything that it describes: all threads serialize the next
/// pieces while one writes.
pub(super) fn write(report: &Report, out: &mut (dyn Write + Send)) -> io::Result<()> {
    // On a thread of the pool, which serializes other pieces while it waits for one.
    rayon::scope(|_| {
        write!(out, "{{\n\"files\":{}", report.read)?;
        array(report, "references", references, out)?;
        array(report, "findings", findings, out)?;
        array(report, "skipped", skipped, out)?;
        out.write_all(b"\n}\n")
    })
}

/// Writes an array of the objects that `of_file` serializes, one object per line.
fn array(
    report: &Report,
    name: &str,
    of_file: fn(&File, &mut Vec<u8>) -> serde_json::Result<()>,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    write!(out, ",\n\"{name}\":[")?;
    let serialize = |files: &[File]| -> serde_json::Result<Vec<Vec<u8>>> {
        let pieces = files.par_chunks(FILES).map(|files| {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            files.iter().try_for_each(|file| of_file(file, &mut piece))?;
            Ok(piece)
        });
        pieces.collect()
    };
    let mut is_first = true;
    let mut put = |pieces: Vec<Vec<u8>>| -> io::Result<()> {
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            // Each object has a comma in front, the first of the array excepted.
            out.write_all(&piece[usize::from(is_first)..])?;
            is_first = false;
        }
        Ok(())
    };
    let mut ready = Vec::new();
    for files in report.files.chunks(FILES * PIECES) {
        let (next, written) = rayon::join(|| serialize(files), || put(std::mem::take(&mut ready)));
        written?;
        ready = next?;
    }
    put(ready)?;
    out.write_all(b"]")
}

/// Appends a comma, a line feed and an object.
fn object(piece: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    piece.extend_from_slice(b",\n");
    serde_json::to_writer(piece, value)
}

fn references(file: &File, piece: &mut Vec<u8>) -> serde_json::Result<()> {
    file.uses
        .iter()
        .try_for_each(|each| object(piece, &ReferenceEntry::new(&file.path, each)))
}

fn findings(file: &File, piece: &mut Vec<u8>) -> serde_json::Result<()> {
    file.findings
        .iter()
        .try_for_each(|each| object(piece, &FindingEntry::new(&file.path, each)))
}

fn skipped(file: &File, piece: &mut Vec<u8>) -> serde_json::Result<()> {
    file.skipped
        .iter()
        .try_for_each(|each| object(piece, &SkippedEntry::new(&file.path, each)))
}

#[derive(Serialize)]
struct ReferenceEntry<'a> {
    path: &'a str,
    line: usize,
    column: usize,
    kind: &'a str,
    role: Role,
    stage: Option<&'a str>,
    raw: &'a str,
    expanded: Option<&'a str>,
    normalized: Option<String>,
    error: Option<&'a str>,
    token_line: usize,
}

impl<'a> ReferenceEntry<'a> {
    fn new(path: &'a str, each: &'a Use) -> Self {
        ReferenceEntry {
            path,
            line: each.line,
            column: each.location.column,
            kind: each.kind,
            role: each.role,
            stage: each.stage.as_deref(),
            raw: &each.raw,
            expanded: each.expanded.as_deref(),
            normalized: each.image.as_ref().ok().map(ToString::to_string),
            error: each.image.as_ref().err().map(|reason| reason.reason()),
            token_line: each.location.line,
        }
    }
}

#[derive(Serialize)]
struct FindingEntry<'a> {
    path: &'a str,
    line: usize,
    column: usize,
    rule: Rule,
    level: Level,
    message: &'a str,
    #[serde(serialize_with = "collect_str")]
    help: Lines<'a>,
    edit: Option<EditEntry<'a>>,
}

#[derive(Serialize)]
struct EditEntry<'a> {
    text: &'a str,
    certain: bool,
}

impl<'a> FindingEntry<'a> {
    fn new(path: &'a str, each: &'a Finding) -> Self {
        let edit = |edit: &'a Edit| EditEntry {
            text: &edit.text,
            certain: edit.certain,
        };
        FindingEntry {
            path,
            line: each.location.line,
            column: each.location.column,
            rule: each.rule,
            level: each.level,
            message: &each.message,
            help: Lines(&each.help),
            edit: each.edit.as_deref().map(edit),
        }
    }
}

#[derive(Serialize)]
struct SkippedEntry<'a> {
    path: &'a str,
    line: Option<usize>,
    reason: &'a str,
    unreadable: bool,
}

impl<'a> SkippedEntry<'a> {
    fn new(path: &'a str, each: &'a Skipped) -> Self {
        SkippedEntry {
            path,
            line: each.line,
            reason: &each.reason,
            unreadable: each.unreadable,
        }
    }
}

/// Lines that are serialized as one string.
struct Lines<'a>(&'a [Text]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.0.iter().enumerate() {
            formatter.write_str(if index == 0 { "" } else { "\n" })?;
            formatter.write_str(line)?;
        }
        Ok(())
    }
}

/// Serializes a value by its `Display`, without a string in between.
fn collect_str<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
