//! Parser directives (`# escape=`), and the front end's image (`# syntax=` and its other forms).

use std::ops::Range;

/// A parser directive at the top of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// `escape`, `syntax` or `check`, in lower case.
    pub name: &'static str,
    /// The value without the blanks around it.
    pub value: String,
    /// 1-based line.
    pub line: usize,
    /// Bytes of the value in the source.
    pub span: Range<usize>,
}

/// The directive-reading state: the first line that is not a directive ends it.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    seen: Vec<&'static str>,
    pub(crate) done: bool,
}

/// Found twice.
pub(crate) struct Repeated(pub(crate) &'static str);

impl Reader {
    /// Parses one line that begins with `comment` while directives are read; `source` is its offset.
    pub(crate) fn line(
        &mut self,
        line: &str,
        comment: &str,
        source: usize,
        number: usize,
    ) -> Result<Option<Directive>, Repeated> {
        if self.done {
            return Ok(None);
        }
        let Some((name, value)) = line.strip_prefix(comment).and_then(key_and_value) else {
            self.done = true;
            return Ok(None);
        };
        if self.seen.contains(&name) {
            return Err(Repeated(name));
        }
        self.seen.push(name);
        let start = source + (value.as_ptr() as usize - line.as_ptr() as usize);
        let span = start..start + value.len();
        Ok(Some(Directive {
            name,
            value: value.to_owned(),
            line: number,
            span,
        }))
    }
}

const BLANKS: [char; 5] = ['\t', '\n', '\u{c}', '\r', ' '];

fn key_and_value(text: &str) -> Option<(&'static str, &str)> {
    let text = text.trim_start();
    let length = text.find(|next: char| !next.is_ascii_alphanumeric())?;
    let name = ["escape", "syntax", "check"]
        .into_iter()
        .find(|name| name.eq_ignore_ascii_case(&text[..length]))?;
    let rest = text[length..].trim_start_matches(BLANKS).strip_prefix('=')?;
    let value = rest.trim_matches(BLANKS);
    if !value.is_empty() {
        return Some((name, value));
    }
    // A value of blanks only is its last blank: the front end's expression requires one character.
    let last = rest.chars().next_back()?;
    Some((name, &rest[rest.len() - last.len_utf8()..]))
}

/// The front end image of a file: `# syntax=`, otherwise `// syntax=`, otherwise `{"syntax": …}`, after a
/// byte order mark and a `#!` line. A JSON document's line is counted from 0, as the front end reports it.
pub(crate) fn detect_syntax(text: &str) -> Option<Directive> {
    let unmarked = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (body, skipped) = match unmarked.starts_with("#!") {
        true => (unmarked.split_once('\n').map_or("", |(_, rest)| rest), 1),
        false => (unmarked, 0),
    };
    let start = text.len() - body.len();
    ["#", "//"]
        .into_iter()
        .find_map(|comment| syntax_comment(body, comment, start, skipped))
        .or_else(|| syntax_json(body, start, skipped))
}

fn syntax_comment(body: &str, comment: &str, start: usize, skipped: usize) -> Option<Directive> {
    let mut reader = Reader::default();
    let mut offset = start;
    for (index, line) in body.split_inclusive('\n').enumerate() {
        let text = line.strip_suffix('\n').unwrap_or(line);
        let text = text.strip_suffix('\r').unwrap_or(text);
        match reader.line(text, comment, offset, skipped + index + 1) {
            Ok(Some(directive)) if directive.name == "syntax" => return Some(first_word(directive)),
            Ok(Some(_)) => {}
            Ok(None) | Err(Repeated(_)) => return None,
        }
        offset += line.len();
    }
    None
}

/// What follows the first space is an argument of the front end, no part of its image.
fn first_word(mut directive: Directive) -> Directive {
    let length = directive.value.find(' ').unwrap_or(directive.value.len());
    directive.value.truncate(length);
    directive.span.end = directive.span.start + length;
    directive
}

fn syntax_json(body: &str, start: usize, skipped: usize) -> Option<Directive> {
    if !body.trim_start().starts_with('{') {
        return None;
    }
    let document: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).ok()?;
    let value = document.get("syntax")?.as_str()?.to_owned();
    let at = body.find(&value).filter(|_| !value.is_empty());
    let span = at.map_or(start..start, |at| start + at..start + at + value.len());
    Some(Directive {
        name: "syntax",
        value,
        line: skipped,
        span,
    })
}
