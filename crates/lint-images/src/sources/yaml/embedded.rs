//! Documents in texts of other documents: patches of kustomizations, values of charts, resources in a ConfigMap.

use std::ops::Range;

use super::tree::{Id, Tree};
use super::{Finder, MAX_DEPTH, is_patch};
use crate::model::Skipped;

/// Maximum number of documents within each other, against malicious files.
const MAX_NESTING: usize = 3;

impl Finder<'_> {
    /// Reads the text at a key, if it has lines and an image, as YAML: a resource, a patch, or values of a chart.
    pub(super) fn text(&mut self, key: &str, id: Id) {
        let tree = self.tree;
        let Some(text) = tree.value(id).filter(|text| text.contains('\n')) else {
            return;
        };
        let has_image = text.contains("image") || text.contains("Image") || text.contains("repository");
        if !has_image || self.tree.is_alias(id) || !self.embedded.insert(id) {
            return;
        }
        if self.nesting == MAX_NESTING {
            return self.unread_images(id, text);
        }
        let (inner, error) = Tree::read(text);
        if error.is_some() {
            return self.unread_images(id, text);
        }
        let mut finder = Finder::new(&inner, text, &self.path, self.policy, self.store);
        finder.nesting = self.nesting + 1;
        for document in &inner.documents {
            finder.embedded_document(*document, key);
        }
        let (uses, skipped) = (finder.uses, finder.skipped);
        let map = Offsets::new(self.text, tree.span(id), text);
        for mut each in uses {
            let span = map.outer(each.location.span);
            let literal = each.literal && self.text.get(span.clone()) == each.expanded.as_deref();
            each.location = self.locations.of(span);
            each.line = each.location.line;
            each.literal = literal;
            self.push(each);
        }
        for each in skipped {
            let line = self.line_of(id, each.line.unwrap_or(1));
            self.skipped.push(Skipped {
                line: Some(line),
                ..each
            });
        }
    }

    /// Returns the line of the file that has a line of a text, counted from 1. The lines of a quoted text differ: its first
    /// one stands for all.
    fn line_of(&self, id: Id, line: usize) -> usize {
        let span = self.tree.span(id);
        let first = self.locations.of(span.clone()).line;
        match self.text.as_bytes().get(span.start) {
            Some(b'"' | b'\'') => first,
            Some(b'|' | b'>') => first + line,
            _ => first + line - 1,
        }
    }

    fn embedded_document(&mut self, root: Id, key: &str) {
        let tree = self.tree;
        let api = tree.text(root, "apiVersion").unwrap_or_default();
        let kind = tree.text(root, "kind").unwrap_or_default();
        if is_patch(tree, root) {
            self.patch(root);
        } else if !api.is_empty() && !kind.is_empty() {
            self.resource(root, kind, api);
        } else if key == "patch" {
            self.images_below(root, MAX_DEPTH, None);
        } else if key.to_ascii_lowercase().contains("values") {
            self.values(root, MAX_DEPTH);
        }
        self.sweep(root, MAX_DEPTH);
    }

    /// Names the images in a text that is not YAML, such as a template or a script.
    fn unread_images(&mut self, id: Id, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let value = line.trim_start().trim_start_matches("- ").strip_prefix("image:");
            if let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) {
                let reason =
                    format!("image {value} is in a text that is not read as YAML: check what it becomes");
                self.skip(self.line_of(id, index + 1), &reason);
            }
        }
    }
}

/// Offsets in a text, as offsets in the file that contains it as a block.
struct Offsets<'a> {
    file: &'a str,
    block: Range<usize>,
    text: &'a str,
}

impl<'a> Offsets<'a> {
    fn new(file: &'a str, block: Range<usize>, text: &'a str) -> Self {
        Offsets { file, block, text }
    }

    /// Returns the range in the file: the same line of the block, and the text in it; the block's start if the block is
    /// folded or quoted, so that its lines differ.
    fn outer(&self, inner: Range<usize>) -> Range<usize> {
        let start = self.block.start..self.block.start;
        let Some(shown) = self.text.get(inner.clone()) else {
            return start;
        };
        let line = self.text[..inner.start].matches('\n').count();
        let column = inner.start - self.text[..inner.start].rfind('\n').map_or(0, |at| at + 1);
        let body = self.file.get(self.block.clone()).unwrap_or_default();
        // The span of a block begins at its first line or at its indicator.
        for skipped in [line, line + 1] {
            let Some(begin) = begin_of_line(body, skipped) else {
                continue;
            };
            let rest = &body[begin..];
            let rest = &rest[..rest.find('\n').unwrap_or(rest.len())];
            let indent = rest.len() - rest.trim_start().len();
            let own_line = self.text.lines().nth(line).unwrap_or_default();
            let own_indent = own_line.len() - own_line.trim_start().len();
            let at = begin + (indent + column).saturating_sub(own_indent);
            if rest.trim_end().ends_with(own_line.trim()) && body.get(at..at + shown.len()) == Some(shown) {
                let at = self.block.start + at;
                return at..at + shown.len();
            }
        }
        start
    }
}

fn begin_of_line(text: &str, line: usize) -> Option<usize> {
    match line {
        0 => Some(0),
        line => text.match_indices('\n').nth(line - 1).map(|(at, _)| at + 1),
    }
}
