//! Kubernetes: resources with containers, kustomizations, clusters of kind.

use super::Finder;
use super::tree::{Id, Node};

impl Finder<'_> {
    /// Finds the images of a resource of any kind. Containers are lists of mappings under these keys at any depth, which
    /// covers lists of resources and custom resources with pod templates.
    pub(super) fn resource(&mut self, id: Id, depth: usize) {
        // Aliases are not followed: nested ones could expand to billions of nodes. Their anchors are visited once.
        if depth == 0 || self.tree.is_alias(id) {
            return;
        }
        match self.tree.node(id) {
            Node::List(items) => items.iter().for_each(|item| self.resource(*item, depth - 1)),
            Node::Map(pairs) => {
                for (key, value) in pairs {
                    match self.tree.scalar(*key) {
                        Some("containers" | "initContainers" | "ephemeralContainers") => {
                            self.containers(*value)
                        }
                        // Image volumes.
                        Some("volumes") => self.image_volumes(*value),
                        _ => {}
                    }
                    self.resource(*value, depth - 1);
                }
            }
            _ => {}
        }
    }

    fn containers(&mut self, id: Id) {
        for item in self.tree.list(id) {
            self.image_at(*item, "image");
        }
        // Some custom resources have a mapping of containers.
        for (_, value) in self.tree.pairs(id) {
            self.image_at(*value, "image");
        }
    }

    fn image_volumes(&mut self, id: Id) {
        for volume in self.tree.list(id) {
            if let Some(image) = self.tree.get(*volume, "image") {
                self.image_at(image, "reference");
            }
        }
    }

    /// Finds the images of a list of mappings.
    pub(super) fn each_image_of(&mut self, root: Id, key: &str) {
        if let Some(list) = self.tree.get(root, key) {
            self.tree
                .list(list)
                .iter()
                .for_each(|item| self.image_at(*item, "image"));
        }
    }

    /// Finds the images that `images:` of a kustomization sets.
    pub(super) fn kustomization(&mut self, root: Id) {
        let Some(images) = self.tree.get(root, "images") else {
            return;
        };
        for image in self.tree.list(images) {
            let Some(id) = self
                .tree
                .get(*image, "newName")
                .or_else(|| self.tree.get(*image, "name"))
            else {
                continue;
            };
            let Some(name) = self.tree.scalar(id) else {
                continue;
            };
            let tag = self
                .tree
                .text(*image, "newTag")
                .map(|tag| format!(":{tag}"))
                .unwrap_or_default();
            let digest = self
                .tree
                .text(*image, "digest")
                .map(|digest| format!("@{digest}"))
                .unwrap_or_default();
            if !(tag.is_empty() && digest.is_empty() && self.tree.get(*image, "newName").is_none()) {
                self.composed(id, format!("{name}{tag}{digest}"));
            }
        }
    }
}
