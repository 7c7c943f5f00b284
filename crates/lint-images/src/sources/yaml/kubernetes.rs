//! Kubernetes: resources of any kind, kustomizations and patches.

use super::images::CONTROLLER;
use super::tree::{Id, Node};
use super::{Finder, MAX_DEPTH};

/// What sets the tag of an image that has none.
const MANIFESTS: &str = "kustomize keeps the tag of the manifests";

impl Finder<'_> {
    /// Finds the images of a resource of any kind, custom resources included: by their keys, at any depth.
    pub(super) fn resource(&mut self, root: Id, kind: &str, api: &str) {
        match kind {
            // Schemas describe images, and have none.
            "CustomResourceDefinition" => self.ignore_below(root, MAX_DEPTH),
            // Data of programs: only whole resources within it are read.
            "ConfigMap" | "Secret" => self.texts_below(root, MAX_DEPTH),
            _ if api.starts_with("kind.x-k8s.io") => {}
            _ => self.images_below(root, MAX_DEPTH, Some(CONTROLLER)),
        }
    }

    fn ignore_below(&mut self, id: Id, depth: usize) {
        if depth == 0 || self.tree.is_alias(id) {
            return;
        }
        self.ignored.insert(id);
        let tree = self.tree;
        tree.list(id)
            .iter()
            .for_each(|item| self.ignore_below(*item, depth - 1));
        tree.pairs(id)
            .iter()
            .for_each(|(_, value)| self.ignore_below(*value, depth - 1));
    }

    fn texts_below(&mut self, id: Id, depth: usize) {
        let tree = self.tree;
        for (name, value) in tree.pairs(id) {
            match tree.node(*value) {
                Node::Map(_) if depth > 0 => self.texts_below(*value, depth - 1),
                Node::Scalar { .. } => self.text(tree.scalar(*name).unwrap_or_default(), *value),
                _ => {}
            }
        }
    }

    /// Finds the images that a kustomization sets: `images`, patches, values of charts.
    pub(super) fn kustomization(&mut self, root: Id) {
        let tree = self.tree;
        let items = |key: &str| {
            tree.get(root, key)
                .map(|id| tree.list(id).to_vec())
                .unwrap_or_default()
        };
        for image in items("images") {
            self.kustomize_entry(image);
        }
        for patch in [items("patches"), items("patchesJson6902")].concat() {
            if let Some(text) = tree.get(patch, "patch") {
                self.text("patch", text);
            }
        }
        for patch in items("patchesStrategicMerge") {
            self.text("patch", patch);
        }
        for chart in items("helmCharts") {
            if let Some(values) = tree.get(chart, "valuesInline") {
                self.values(values, MAX_DEPTH);
            }
        }
    }

    /// Adds the image of an entry with `newName`, `newTag` or `digest`. Returns whether it is such an entry.
    pub(super) fn kustomize_entry(&mut self, image: Id) -> bool {
        let tree = self.tree;
        let (new_name, new_tag) = (tree.filled(image, "newName"), tree.filled(image, "newTag"));
        let digest = tree
            .filled(image, "digest")
            .filter(|_| tree.get(image, "name").is_some());
        if new_name.is_none() && new_tag.is_none() && (digest.is_none() || tree.get(image, "tag").is_some()) {
            return false;
        }
        let key = if new_name.is_some() { "newName" } else { "name" };
        let (Some(id), Some(name)) = (tree.get(image, key), tree.filled(image, key)) else {
            return true;
        };
        let mut text = name.to_owned();
        text.extend(new_tag.iter().flat_map(|tag| [":", tag]));
        text.extend(digest.iter().flat_map(|digest| ["@", digest]));
        self.composed(id, text, Some(MANIFESTS));
        true
    }

    /// Finds the images of a JSON patch: the values of operations on images, and within values.
    pub(super) fn patch(&mut self, root: Id) {
        let tree = self.tree;
        for operation in tree.list(root) {
            let Some(value) = tree.get(*operation, "value") else {
                continue;
            };
            let path = tree.text(*operation, "path").unwrap_or_default();
            let last = path.rsplit('/').next().unwrap_or_default();
            match tree.node(value) {
                Node::Scalar { .. } if super::images::key(last) != super::images::Key::Other => {
                    self.image(value)
                }
                Node::Scalar { .. } => {}
                _ => self.images_below(value, MAX_DEPTH, None),
            }
        }
    }
}
