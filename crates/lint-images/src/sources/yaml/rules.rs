//! Kinds of YAML files as data: which files, and the paths of their images.

use std::sync::LazyLock;

use globset::GlobMatcher;
use serde::Deserialize;

use super::tree::{Id, Node, Tree};
use super::{Finder, MAX_DEPTH};

/// Kind of YAML files, and the paths of their images.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ResourceEntry {
    /// Name for readers.
    #[allow(dead_code, reason = "names the entry for readers of the file")]
    pub(crate) name: String,
    /// Globs of files, relative to the repository root; any file if absent.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) files: Vec<PathGlob>,
    /// Globs of `apiVersion`; any if absent.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) api_versions: Vec<PathGlob>,
    /// Values of `kind`; any if absent.
    #[serde(default)]
    pub(crate) kinds: Vec<String>,
    /// Keys that the document has.
    #[serde(default)]
    pub(crate) keys: Vec<String>,
    /// Paths of images, dot-separated: `*` is any key or item, `**` any number of them.
    #[serde(default)]
    pub(crate) images: Vec<String>,
    /// Paths of keys that look like images and are none.
    #[serde(default)]
    pub(crate) ignore: Vec<String>,
    /// Prefix of images, such as `docker://`; other texts at the paths are no images.
    pub(crate) prefix: Option<String>,
}

/// Glob whose `*` is within one folder.
#[derive(Debug, Clone)]
pub(crate) struct PathGlob(GlobMatcher);

impl<'de> Deserialize<'de> for PathGlob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let glob = crate::policy::path_glob(&text);
        Ok(PathGlob(glob.map_err(serde::de::Error::custom)?))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Presets {
    resources: Vec<ResourceEntry>,
}

static PRESETS: LazyLock<Vec<ResourceEntry>> = LazyLock::new(|| {
    let presets: Result<Presets, _> = toml::from_str(include_str!("rules.toml"));
    // A test parses the file.
    presets.map(|presets| presets.resources).unwrap_or_default()
});

impl ResourceEntry {
    /// Returns whether the entry is about a document.
    fn covers(&self, path: &str, tree: &Tree, root: Id) -> bool {
        let any = |globs: &[PathGlob], text: &str| {
            globs.is_empty() || globs.iter().any(|glob| glob.0.is_match(text))
        };
        let text = |key: &str| tree.text(root, key).unwrap_or_default();
        any(&self.files, path)
            && any(&self.api_versions, text("apiVersion"))
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == text("kind")))
            && self.keys.iter().all(|key| tree.get(root, key).is_some())
    }
}

impl Finder<'_> {
    /// Finds the images of a document at the paths of all entries that are about it.
    pub(super) fn by_rules(&mut self, root: Id, own: &[ResourceEntry]) {
        let entries = PRESETS.iter().chain(own);
        let path = self.path.clone();
        let entries: Vec<&ResourceEntry> = entries
            .filter(|entry| entry.covers(&path, self.tree, root))
            .collect();
        for path in entries.iter().flat_map(|entry| &entry.ignore) {
            let ignored = self.select(root, path);
            self.ignored.extend(ignored);
        }
        for entry in entries {
            for path in &entry.images {
                for id in self.select(root, path) {
                    self.at_path(id, entry.prefix.as_deref());
                }
            }
        }
    }

    fn at_path(&mut self, id: Id, prefix: Option<&str>) {
        match (self.tree.node(id), prefix) {
            (Node::Scalar { .. }, None) => self.image(id),
            (Node::Scalar { .. }, Some(prefix)) => self.prefixed(id, prefix),
            (Node::Map(_), None) => self.image_parts(id, MAX_DEPTH),
            (Node::List(items), None) => items
                .clone()
                .into_iter()
                .for_each(|item| self.at_path(item, None)),
            _ => {}
        }
    }

    fn select(&self, root: Id, path: &str) -> Vec<Id> {
        let parts: Vec<&str> = path.split('.').collect();
        let mut found = Vec::new();
        select(self.tree, root, &parts, MAX_DEPTH, &mut found);
        found
    }
}

/// Collects the nodes at a path. Aliases are followed at named keys only, so that a document cannot expand.
fn select(tree: &Tree, id: Id, path: &[&str], depth: usize, found: &mut Vec<Id>) {
    let Some((first, rest)) = path.split_first() else {
        found.push(id);
        return;
    };
    if depth == 0 {
        return;
    }
    if !matches!(*first, "*" | "**") {
        if let Some(value) = tree.get(id, first) {
            select(tree, value, rest, depth - 1, found);
        }
        return;
    }
    let below = if *first == "**" { path } else { rest };
    if *first == "**" {
        select(tree, id, rest, depth - 1, found);
        if tree.is_alias(id) {
            return;
        }
    }
    tree.list(id)
        .iter()
        .for_each(|item| select(tree, *item, below, depth - 1, found));
    tree.pairs(id)
        .iter()
        .for_each(|(_, value)| select(tree, *value, below, depth - 1, found));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid() {
        let presets: Presets = toml::from_str(include_str!("rules.toml")).unwrap();
        assert!(!presets.resources.is_empty());
    }
}
