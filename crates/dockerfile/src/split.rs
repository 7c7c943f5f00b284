//! Splits a logical line into keyword, flags and arguments, and arguments into words.

use std::ops::Range;

/// The separators of words in the front end: no Unicode blanks.
pub(crate) const BLANKS: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

/// A flag of an instruction: `--from=builder`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag with its dashes, quotes and escapes removed.
    pub text: String,
    /// Bytes of the flag in the logical line, later in the source.
    pub(crate) range: Range<usize>,
}

impl Flag {
    /// Name without dashes, and the value if there is a `=`.
    pub fn name_and_value(&self) -> (&str, Option<&str>) {
        let text = self.text.strip_prefix("--").unwrap_or(&self.text);
        match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        }
    }
}

/// The pieces of an instruction in its logical line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pieces {
    pub(crate) keyword: Range<usize>,
    pub(crate) flags: Vec<Flag>,
    pub(crate) arguments: Range<usize>,
}

/// A text without leading blanks. Usually there are none, which its first byte shows.
pub(crate) fn trim_start(text: &str) -> &str {
    match text.bytes().next() {
        Some(byte) if byte.is_ascii_graphic() => text,
        _ => text.trim_start(),
    }
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let slice = trim_start(&text[range.clone()]);
    let start = range.end - slice.len();
    match slice.bytes().next_back() {
        Some(byte) if byte.is_ascii_graphic() => start..range.end,
        _ => start..start + slice.trim_end().len(),
    }
}

/// Splits the part of `text` in `range`.
pub(crate) fn split(text: &str, range: Range<usize>, escape: char) -> Pieces {
    let range = trimmed(text, range);
    let line = &text[range.clone()];
    let Some(length) = line.bytes().position(is_blank) else {
        return Pieces {
            keyword: range.clone(),
            flags: Vec::new(),
            arguments: range.end..range.end,
        };
    };
    let keyword = range.start..range.start + length;
    let blanks = line[length..].bytes().take_while(|byte| is_blank(*byte));
    let after = length + blanks.count();
    let (mut flags, rest) = flags(line, after, escape);
    for Flag { range: at, .. } in &mut flags {
        *at = range.start + at.start..range.start + at.end;
    }
    Pieces {
        keyword,
        flags,
        arguments: trimmed(text, range.start + rest..range.end),
    }
}

/// The same of bytes: none of them is part of another character.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x0b | 0x0c | b'\r' | b' ')
}

/// Whether a byte ends a flag. The front end treats bytes as characters, so the second bytes of some
/// multi-byte characters (0x85, 0xA0) are blanks to it.
fn is_blank_byte(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0x85 | 0xa0)
}

/// The flags from `start` on, and the start of the text after them.
fn flags(line: &str, start: usize, escape: char) -> (Vec<Flag>, usize) {
    let bytes = line.as_bytes();
    let mut flags = Vec::new();
    let mut at = start;
    loop {
        while bytes.get(at).copied().is_some_and(is_blank_byte) {
            at += 1;
        }
        if !bytes[at.min(bytes.len())..].starts_with(b"--") {
            return (flags, on_boundary(line, at));
        }
        let (text, quoted, end) = flag(bytes, at, escape);
        if text == "--" {
            return (flags, on_boundary(line, end));
        }
        if quoted || !text.is_empty() {
            flags.push(Flag {
                text,
                range: at..on_boundary(line, end),
            });
        }
        at = end;
    }
}

fn on_boundary(line: &str, at: usize) -> usize {
    (at..=line.len())
        .find(|at| line.is_char_boundary(*at))
        .unwrap_or(line.len())
}

/// One flag from `start`: its text, whether it had quotes, its end.
fn flag(bytes: &[u8], start: usize, escape: char) -> (String, bool, usize) {
    let length = bytes[start..].iter().position(|byte| is_blank_byte(*byte));
    // As long as it has no quotes and escapes, the usual form.
    let mut text = Vec::with_capacity(length.unwrap_or(bytes.len() - start));
    let mut quote = None;
    let mut quoted = false;
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match quote {
            None if is_blank_byte(byte) => {
                at -= 1;
                break;
            }
            None if byte == b'\'' || byte == b'"' => {
                quote = Some(byte);
                quoted = true;
            }
            Some(end) if byte == end => quote = None,
            _ if char::from(byte) == escape => {
                if let Some(&escaped) = bytes.get(at) {
                    text.push(escaped);
                    at += 1;
                }
            }
            _ => text.push(byte),
        }
    }
    let text = String::from_utf8(text)
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect());
    (text, quoted, at)
}

/// Words between blanks, as ranges of `text`.
pub(crate) fn words(text: &str, range: Range<usize>) -> impl DoubleEndedIterator<Item = Range<usize>> {
    let start = range.start;
    let slice = &text[range];
    slice
        .split(BLANKS)
        .filter(|word| !word.is_empty())
        .map(move |word| {
            let at = start + (word.as_ptr() as usize - slice.as_ptr() as usize);
            at..at + word.len()
        })
}

/// Words of `ARG`, `LABEL` and the like: blanks within quotes are text, quotes and escapes stay.
pub(crate) fn quoted_words(text: &str, range: Range<usize>, escape: char) -> QuotedWords<'_> {
    QuotedWords {
        rest: &text[range],
        escape,
    }
}

/// The remaining words. Quotes and escapes stay, so each is a slice of the text.
#[derive(Debug, Clone)]
pub(crate) struct QuotedWords<'a> {
    rest: &'a str,
    escape: char,
}

impl<'a> Iterator for QuotedWords<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start();
        let (end, goes_on) = self.end();
        let (word, rest) = self.rest.split_at(end);
        self.rest = if goes_on { rest } else { "" };
        (!word.is_empty()).then_some(word)
    }
}

impl QuotedWords<'_> {
    /// The end of the first word, and whether the next character counts.
    fn end(&self) -> (usize, bool) {
        let bytes = self.rest.as_bytes();
        let mut quote = None;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match quote {
                None if self.blank_at(at, byte) => return (at, true),
                None if byte == b'\'' || byte == b'"' => quote = Some(byte),
                Some(end) if byte == end => quote = None,
                _ => {}
            }
            at += 1;
            // An escape character takes the next one with it; at the end of the line it is dropped.
            if char::from(byte) == self.escape && quote != Some(b'\'') {
                let Some(escaped) = self.rest[at..].chars().next() else {
                    return (at - 1, false);
                };
                at += escaped.len_utf8();
            }
        }
        (self.rest.len(), false)
    }

    /// Whether a blank begins here, Unicode's blanks too.
    fn blank_at(&self, at: usize, byte: u8) -> bool {
        match byte.is_ascii() {
            true => char::from(byte).is_whitespace(),
            false => self
                .rest
                .get(at..)
                .and_then(|rest| rest.chars().next())
                .is_some_and(char::is_whitespace),
        }
    }
}
