//! Compose files.

use std::ops::Range;

use super::tree::{Id, Node};
use super::{Finder, read_image};
use crate::model::ImageError;

impl Finder<'_> {
    /// Finds the images of services, except those that are built: their `image` names the result.
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

    /// Expands `${VARIABLE:-default}` of compose: the shell's syntax, with `$$` for a dollar sign.
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
                    Err(ImageError::Unresolved(format!(
                        "no value and no default for variable {names}"
                    ))),
                )
            }
            Err(error) => (None, Err(ImageError::Unresolved(error.to_string()))),
        };
        self.push(text, expanded, image, span, false);
    }
}
