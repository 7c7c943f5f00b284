//! Here-documents of `RUN`, `COPY` and `ADD`.

use std::ops::Range;

use crate::shell::{self, ExpansionError, Mode};

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// `<<-`: tabs in front of the ending word (and of the lines) do not count.
    pub chomp: bool,
    /// Bytes of its content in the source, without the ending line.
    pub span: Range<usize>,
    /// Whether the ending line is there.
    pub terminated: bool,
}

/// The here-document that a line opens, before its content is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) name: String,
    pub(crate) chomp: bool,
}

impl Opening {
    /// Whether a physical line is the one that ends the document.
    pub(crate) fn is_end(&self, line: &str) -> bool {
        match self.chomp {
            true => line.trim_start_matches('\t') == self.name,
            false => line == self.name,
        }
    }
}

/// Whether the text contains `<<`. Most lines have no `<`, and preparing a search for two bytes costs more.
fn has_marker(line: &[u8]) -> bool {
    memchr::memchr_iter(b'<', line).any(|at| line.get(at + 1) == Some(&b'<'))
}

/// The documents that a logical line opens, in order.
pub(crate) fn openings(line: &str) -> Result<Vec<Opening>, ExpansionError> {
    if !has_marker(line.as_bytes()) {
        return Ok(Vec::new());
    }
    let mode = Mode {
        raw_quotes: true,
        raw_escapes: true,
        keep_unset: true,
    };
    // Shell text that the lexer cannot read (`$(( ${x} ))` and the like) opens none, as in the front end.
    let words = shell::words(line, mode).unwrap_or_default();
    words
        .iter()
        .filter_map(|word| opening(word).transpose())
        .collect()
}

/// The here-document that a word opens, if it has that form.
pub(crate) fn opening(word: &str) -> Result<Option<Opening>, ExpansionError> {
    let Some(rest) = word
        .trim_start_matches(|each: char| each.is_ascii_digit())
        .strip_prefix("<<")
    else {
        return Ok(None);
    };
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    if rest
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        // The usual form: the lexer would find nothing else in it.
        return Ok(Some(Opening {
            name: rest.to_owned(),
            chomp,
        }));
    }
    let unquoted = Mode {
        keep_unset: true,
        ..Mode::default()
    };
    let words = shell::words(rest, unquoted)?;
    let [name] = words.as_slice() else { return Ok(None) };
    let quoted = shell::words(
        rest,
        Mode {
            raw_quotes: true,
            ..unquoted
        },
    )?;
    if quoted.len() != 1 {
        return Err(ExpansionError(format!(
            "inconsistent quotes in the here-document word {rest}"
        )));
    }
    Ok(Some(Opening {
        name: name.clone(),
        chomp,
    }))
}
