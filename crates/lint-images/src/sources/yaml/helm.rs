//! Values of Helm charts.

use super::Finder;
use super::tree::Id;

impl Finder<'_> {
    /// Finds images in values: a string, or a mapping with `repository` and optional `registry`, `tag` and `digest`.
    pub(super) fn values(&mut self, id: Id, depth: usize) {
        if depth == 0 || self.tree.is_alias(id) {
            return;
        }
        for (key, value) in self.tree.pairs(id) {
            let is_image = self
                .tree
                .scalar(*key)
                .is_some_and(|key| key == "image" || key.ends_with("Image"));
            if let (true, Some(repository)) = (is_image, self.tree.get(*value, "repository")) {
                self.helm_image(*value, repository);
            } else if is_image && self.tree.scalar(*value).is_some_and(|text| !text.is_empty()) {
                self.image(*value);
            } else {
                self.values(*value, depth - 1);
            }
        }
        self.tree
            .list(id)
            .iter()
            .for_each(|item| self.values(*item, depth - 1));
    }

    fn helm_image(&mut self, image: Id, repository: Id) {
        let part = |key: &str| self.tree.text(image, key).filter(|text| !text.is_empty());
        let Some(name) = self.tree.scalar(repository).filter(|name| !name.is_empty()) else {
            return;
        };
        let registry = part("registry")
            .map(|registry| format!("{registry}/"))
            .unwrap_or_default();
        let tag = part("tag").map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = part("digest")
            .map(|digest| format!("@{digest}"))
            .unwrap_or_default();
        self.composed(repository, format!("{registry}{name}{tag}{digest}"));
    }
}
