//! One JSON document: all references and findings (docs/lint-images.md has the shape). That of a large tree is larger
//! than all that it is about, so it is made piece by piece: all threads make the next pieces while one is written.

use std::io::{self, Write};

use rayon::prelude::*;

use crate::Report;
use crate::model::{Edit, File, ImageError, Text};

/// How many files make a piece, and how many pieces are made at a time.
const FILES: usize = 32;
const PIECES: usize = 4;

pub(super) fn write(report: &Report, out: &mut (dyn Write + Send)) -> io::Result<()> {
    // On a thread of the pool, where to wait for a piece is to make one.
    rayon::scope(|_| document(report, out))
}

fn document(report: &Report, out: &mut (dyn Write + Send)) -> io::Result<()> {
    write!(out, "{{\n  \"files\": {}", report.read)?;
    array(report, "references", references, out)?;
    array(report, "findings", findings, out)?;
    array(report, "skipped", skipped, out)?;
    out.write_all(b"\n}\n")
}

/// An array of what a function writes of each file, objects with a comma behind each.
fn array(
    report: &Report,
    name: &str,
    of_file: fn(&mut Json, &File),
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    write!(out, ",\n  \"{name}\": [")?;
    let make = |files: &[File]| -> Vec<String> {
        let pieces = files.par_chunks(FILES).map(|files| {
            let mut json = Json::default();
            files.iter().for_each(|file| of_file(&mut json, file));
            json.out
        });
        pieces.collect()
    };
    let mut is_first = true;
    let mut put = |pieces: Vec<String>| -> io::Result<()> {
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let start = usize::from(is_first);
            out.write_all(&piece.as_bytes()[start..])?;
            is_first = false;
        }
        Ok(())
    };
    let mut made = Vec::new();
    for files in report.files.chunks(FILES * PIECES) {
        let (next, written) = rayon::join(|| make(files), || put(std::mem::take(&mut made)));
        written?;
        made = next;
    }
    put(made)?;
    out.write_all(if is_first { b"]" } else { b"\n  ]" })
}

fn references(json: &mut Json, file: &File) {
    for each in &file.uses {
        let normalized = each.image.as_ref().ok().map(ToString::to_string);
        json.begin();
        json.text("path", Some(&file.path));
        json.number("line", Some(each.line));
        json.number("column", Some(each.location.column));
        json.word("kind", each.kind);
        json.word("role", each.role.name());
        json.text("stage", each.stage.as_deref());
        json.text("raw", Some(&each.raw));
        json.text("expanded", each.expanded.as_deref());
        json.text("normalized", normalized.as_deref());
        json.text("error", each.image.as_ref().err().map(ImageError::reason));
        json.number("token_line", Some(each.location.line));
        json.end();
    }
}

fn findings(json: &mut Json, file: &File) {
    for each in &file.findings {
        json.begin();
        json.text("path", Some(&file.path));
        json.number("line", Some(each.location.line));
        json.number("column", Some(each.location.column));
        json.word("rule", each.rule.id());
        json.word("level", each.level.name());
        json.text("message", Some(&each.message));
        json.lines("help", &each.help);
        json.edit("edit", each.edit.as_deref());
        json.end();
    }
}

fn skipped(json: &mut Json, file: &File) {
    for each in &file.skipped {
        json.begin();
        json.text("path", Some(&file.path));
        json.number("line", each.line);
        json.text("reason", Some(&each.reason));
        json.member("unreadable", if each.unreadable { "true" } else { "false" });
        json.end();
    }
}

/// Objects of an array of the document, each with a comma in front. Nine tenths of a run's output are these few kinds
/// of objects: to write them by hand takes a third of the time that a serializer for all kinds takes.
#[derive(Default)]
struct Json {
    out: String,
}

impl Json {
    fn begin(&mut self) {
        self.out.push_str(",\n    {");
    }

    fn end(&mut self) {
        // The comma behind the last member.
        self.out.pop();
        self.out.push_str("\n    }");
    }

    fn name(&mut self, name: &str) {
        for part in ["\n      \"", name, "\": "] {
            self.out.push_str(part);
        }
    }

    /// A member whose value is written as JSON already.
    fn member(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.push_str(value);
        self.out.push(',');
    }

    fn number(&mut self, name: &str, value: Option<usize>) {
        let Some(value) = value else {
            return self.member(name, "null");
        };
        self.name(name);
        decimal(&mut self.out, value);
        self.out.push(',');
    }

    /// A text of our own, with nothing to escape.
    fn word(&mut self, name: &str, value: &str) {
        self.name(name);
        for part in ["\"", value, "\","] {
            self.out.push_str(part);
        }
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        match value {
            None => self.member(name, "null"),
            Some(value) => {
                self.name(name);
                self.out.push('"');
                escape(&mut self.out, value);
                self.out.push_str("\",");
            }
        }
    }

    /// A text of several lines.
    fn lines(&mut self, name: &str, lines: &[Text]) {
        self.name(name);
        self.out.push('"');
        for (index, line) in lines.iter().enumerate() {
            self.out.push_str(if index == 0 { "" } else { "\\n" });
            escape(&mut self.out, line);
        }
        self.out.push_str("\",");
    }

    fn edit(&mut self, name: &str, edit: Option<&Edit>) {
        let Some(edit) = edit else {
            return self.member(name, "null");
        };
        self.name(name);
        self.out.push_str("{\n        \"text\": \"");
        escape(&mut self.out, &edit.text);
        self.out.push_str(match edit.certain {
            true => "\",\n        \"certain\": true\n      },",
            false => "\",\n        \"certain\": false\n      },",
        });
    }
}

/// Writes a number; `write!` takes five times as long for the few digits that it has.
fn decimal(out: &mut String, number: usize) {
    if number >= 10 {
        decimal(out, number / 10);
    }
    out.extend(char::from_digit((number % 10) as u32, 10));
}

/// Writes a text as the inside of a JSON string.
fn escape(out: &mut String, text: &str) {
    let bytes = text.as_bytes();
    // The least byte of all, since that is found many bytes at a time: control characters are rare.
    if bytes.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < b' ' {
        return text.chars().for_each(|each| escape_character(out, each));
    }
    let mut copied = 0;
    for at in memchr::memchr2_iter(b'"', b'\\', bytes) {
        out.push_str(&text[copied..at]);
        out.push('\\');
        copied = at;
    }
    out.push_str(&text[copied..]);
}

fn escape_character(out: &mut String, each: char) {
    match each {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        ..' ' => out.push_str(&format!("\\u{:04x}", u32::from(each))),
        each => out.push(each),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_the_serializer_escapes_them() {
        let all: String = (0..0x180).filter_map(char::from_u32).collect();
        let long = format!("{}\"{}\n", "é".repeat(40), "x".repeat(70));
        for text in ["", &long, "plain", "a \"quoted\" one", "\\", "line\nline", &all] {
            let mut escaped = String::new();
            escape(&mut escaped, text);
            assert_eq!(format!("\"{escaped}\""), serde_json::to_string(text).unwrap());
        }
    }
}
