//! Compose files.

use std::ops::Range;

use super::tree::{Id, Node};
use super::{Finder, read_image};
use crate::model::NoImage;

impl Finder<'_> {
    /// Compose: a service that is built names its result, which is pulled from nowhere.
    pub(super) fn compose(&mut self, root: Id) {
        let Some(services) = self.tree.get(root, "services") else {
            return;
        };
        for (_, service) in self.tree.pairs(services) {
            let Some(id) = self.tree.get(*service, "image") else {
                continue;
            };
            if self.tree.get(*service, "build").is_some() {
                continue;
            }
            let Node::Scalar { text, span, .. } = self.tree.node(id) else {
                continue;
            };
            match text.contains('$') {
                false => self.image(id),
                true => self.interpolated(text.clone(), span.clone()),
            }
        }
    }

    /// `${VARIABLE:-default}` as compose has it, which is as a shell has it but for `$$`.
    fn interpolated(&mut self, text: String, span: Range<usize>) {
        let expanded = dockerfile::expand(&text.replace("$$", "\\$"), '\\', &());
        let (expanded, image) = match expanded {
            Ok(expanded) if expanded.missing.is_empty() => {
                (Some(expanded.text.clone()), read_image(&expanded.text))
            }
            Ok(expanded) => {
                let names = expanded.missing.join(", ");
                (
                    None,
                    Err(NoImage::Unresolved(format!(
                        "variable {names} has no value and no default"
                    ))),
                )
            }
            Err(error) => (None, Err(NoImage::Unresolved(error.to_string()))),
        };
        self.push(text, expanded, image, span, false);
    }
}
