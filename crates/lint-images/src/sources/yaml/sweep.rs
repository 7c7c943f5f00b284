//! Names the keys that look like images and that no kind of document has, so that nothing is passed over in silence.

use super::Finder;
use super::images::{Key, is_likely, key, may_be_image};
use super::tree::{Id, Node};

impl Finder<'_> {
    pub(super) fn sweep(&mut self, id: Id, depth: usize) {
        if depth == 0 || self.tree.is_alias(id) || self.ignored.contains(&id) {
            return;
        }
        let tree = self.tree;
        tree.list(id).iter().for_each(|item| self.sweep(*item, depth - 1));
        for (name, value) in tree.pairs(id) {
            if self.ignored.contains(value) {
                continue;
            }
            let Node::Scalar { text, .. } = tree.node(*value) else {
                self.sweep(*value, depth - 1);
                continue;
            };
            let name = tree.scalar(*name).unwrap_or_default();
            let is_image = match key(name) {
                Key::Image => {
                    may_be_image(tree, *value) && text.parse::<dockerfile::ImageReference>().is_ok()
                }
                Key::Named => is_likely(tree, *value, false),
                Key::Several | Key::Other => false,
            };
            let span = self.text_span(*value, text);
            let is_judged = self.seen.contains(&span.start) || self.seen.contains(&tree.span(*value).start);
            if is_image && !is_judged && !tree.is_alias(*value) {
                let line = self.locations.of(span).line;
                let reason = format!(
                    "{name} {text} is not checked: no rule reads this kind of file; see [[resources]]"
                );
                self.skip(line, &reason);
            }
        }
    }
}
