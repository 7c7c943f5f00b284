//! Names the keys that look like images and that no kind of document has, so that nothing is passed over in silence.

use super::Finder;
use super::images::{Key, is_certain, is_likely, key, may_be_image};
use super::tree::{Id, Node};

impl Finder<'_> {
    pub(super) fn sweep(&mut self, id: Id, depth: usize) {
        if depth == 0 || self.tree.is_alias(id) || self.ignored.contains(&id) {
            return;
        }
        let tree = self.tree;
        tree.list(id).iter().for_each(|item| self.sweep(*item, depth - 1));
        for (name, value) in tree.pairs(id) {
            if self.ignored.contains(value) || tree.is_alias(*value) {
                continue;
            }
            let name = tree.scalar(*name).unwrap_or_default();
            let kind = key(name);
            match tree.node(*value) {
                Node::Scalar { text, .. } if text.contains('\n') => self.text(name, *value),
                Node::Scalar { text, .. } => {
                    let is_image = match kind {
                        Key::Image => {
                            may_be_image(tree, *value) && text.parse::<dockerfile::ImageReference>().is_ok()
                        }
                        Key::Named => is_likely(tree, *value, false),
                        Key::Several | Key::Other => false,
                    };
                    if is_image {
                        self.name_unless_judged(name, *value);
                    }
                }
                Node::List(items) if kind != Key::Other => {
                    for item in items
                        .iter()
                        .filter(|item| tree.value(**item).is_some_and(is_certain))
                    {
                        self.name_unless_judged(name, *item);
                    }
                    self.sweep(*value, depth - 1);
                }
                Node::Map(_) if kind != Key::Other => {
                    let part = ["repository", "reference"]
                        .iter()
                        .find_map(|key| tree.get(*value, key));
                    if let Some(part) = part.filter(|part| may_be_image(tree, *part)) {
                        self.name_unless_judged(name, part);
                    }
                    self.sweep(*value, depth - 1);
                }
                _ => self.sweep(*value, depth - 1),
            }
        }
    }

    /// Names an image at a key, unless a kind of document has it.
    fn name_unless_judged(&mut self, name: &str, id: Id) {
        let Some(text) = self.tree.value(id) else { return };
        let span = self.text_span(id, text);
        // The same text at an alias is named at its anchor.
        if self.tree.is_alias(id) || self.seen.contains(&span.start) {
            return;
        }
        let line = self.locations.of(span).line;
        let reason =
            format!("{name} {text} is not checked: no rule reads this kind of file; see [[resources]]");
        self.skip(line, &reason);
    }
}
