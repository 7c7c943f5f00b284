//! Logical lines: physical lines joined at escape characters, with the way back to the source.

use std::borrow::Cow;
use std::ops::Range;

/// One logical line. Its text is a slice of the source where nothing was joined.
#[derive(Debug, Clone)]
pub(crate) struct Logical<'a> {
    text: Cow<'a, str>,
    /// (where a piece begins in `text`, where it begins in the source), ascending.
    pieces: Vec<(usize, usize)>,
}

impl<'a> Logical<'a> {
    pub(crate) fn new(text: &'a str, source: usize) -> Self {
        Logical {
            text: Cow::Borrowed(text),
            pieces: vec![(0, source)],
        }
    }

    pub(crate) fn push(&mut self, text: &str, source: usize) {
        if text.is_empty() {
            return;
        }
        self.pieces.push((self.text.len(), source));
        self.text.to_mut().push_str(text);
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Where a range of this line is in the source: from its first byte to behind its last.
    pub(crate) fn source(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.offset(range.start);
        let end = match range.is_empty() {
            true => start,
            false => self.offset(range.end - 1) + 1,
        };
        start..end
    }

    fn offset(&self, at: usize) -> usize {
        let index = self.pieces.partition_point(|(start, _)| *start <= at);
        let (start, source) = self.pieces[index.saturating_sub(1)];
        source + (at - start)
    }
}

/// Physical lines of a text, without their ends, with byte offsets.
#[derive(Debug, Clone)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    position: usize,
    /// Number of the line that was given last, 1-based; 0 before the first.
    pub(crate) number: usize,
}

/// A physical line: `text` without trailing carriage returns and line feed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) text: &'a str,
    pub(crate) start: usize,
    /// Behind the line feed.
    pub(crate) next: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Lines {
            text,
            position: 0,
            number: 0,
        }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let rest = &self.text[self.position..];
        if rest.is_empty() {
            return None;
        }
        let (line, length) = match memchr::memchr(b'\n', rest.as_bytes()) {
            Some(end) => (&rest[..end], end + 1),
            None => (rest, rest.len()),
        };
        let start = self.position;
        self.position += length;
        self.number += 1;
        Some(Line {
            text: line.trim_end_matches('\r'),
            start,
            next: self.position,
        })
    }
}

/// Turns byte offsets into lines and columns.
#[derive(Debug, Clone)]
pub struct LineIndex {
    starts: Vec<usize>,
}

impl LineIndex {
    /// Indexes a text.
    pub fn new(text: &str) -> Self {
        let mut starts = vec![0];
        starts.extend(memchr::memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1));
        LineIndex { starts }
    }

    /// Line and column, both 1-based, of a byte offset; columns count characters. `text` is the text indexed.
    pub fn position(&self, text: &str, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line.saturating_sub(1)];
        let before = text.get(start..offset.min(text.len())).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}
