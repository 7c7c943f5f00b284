//! Logical lines: physical lines joined at escape characters, with a mapping to the source.

use std::borrow::Cow;
use std::ops::Range;

/// One logical line. Its text is a slice of the source if nothing was joined.
#[derive(Debug, Clone)]
pub(crate) struct Logical<'a> {
    text: Cow<'a, str>,
    /// Start of its text in the source.
    source: usize,
    /// Starts of further pieces in `text` and in the source; ascending.
    more: Vec<(usize, usize)>,
}

impl<'a> Logical<'a> {
    pub(crate) fn new(text: &'a str, source: usize) -> Self {
        Logical {
            text: Cow::Borrowed(text),
            source,
            more: Vec::new(),
        }
    }

    /// Pieces with their positions in the source, joined at once.
    pub(crate) fn joined(first: &'a str, source: usize, more: &[(&str, usize)]) -> Self {
        if more.is_empty() {
            return Logical::new(first, source);
        }
        let length = more.iter().map(|(piece, _)| piece.len()).sum::<usize>();
        let mut text = String::with_capacity(first.len() + length);
        text.push_str(first);
        let mut starts = Vec::with_capacity(more.len());
        for (piece, source) in more {
            starts.push((text.len(), *source));
            text.push_str(piece);
        }
        Logical {
            text: Cow::Owned(text),
            source,
            more: starts,
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The range in the source of a range of this line.
    pub(crate) fn source(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.offset(range.start);
        let end = match range.is_empty() {
            true => start,
            false => self.offset(range.end - 1) + 1,
        };
        start..end
    }

    fn offset(&self, at: usize) -> usize {
        let index = self.more.partition_point(|(start, _)| *start <= at);
        let (start, source) = match index.checked_sub(1) {
            Some(piece) => self.more[piece],
            None => (0, self.source),
        };
        source + (at - start)
    }
}

/// Physical lines of a text, without their ends, with byte offsets.
#[derive(Debug, Clone)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    position: usize,
    /// Number of the last returned line, 1-based; 0 before the first.
    pub(crate) number: usize,
    /// Starts of the returned lines, and of the next one.
    pub(crate) index: LineIndex,
}

/// A physical line: `text` without trailing carriage returns and line feed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) text: &'a str,
    pub(crate) start: usize,
    /// After the line feed.
    pub(crate) next: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Lines {
            text,
            position: 0,
            number: 0,
            index: LineIndex::with_room(text),
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
            Some(end) => {
                self.index.starts.push(self.position + end + 1);
                (&rest[..end], end + 1)
            }
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
#[derive(Debug, Clone, Default)]
pub struct LineIndex {
    starts: Vec<usize>,
}

impl LineIndex {
    /// Indexes a text.
    pub fn new(text: &str) -> Self {
        let mut index = LineIndex::with_room(text);
        let ends = memchr::memchr_iter(b'\n', text.as_bytes());
        index.starts.extend(ends.map(|end| end + 1));
        index
    }

    /// The first line, with capacity for lines of the usual length.
    fn with_room(text: &str) -> Self {
        let mut starts = Vec::with_capacity(text.len() / 16 + 1);
        starts.push(0);
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
