//! Pipelines of GitLab.

use std::collections::BTreeMap;

use super::Finder;
use super::compose::expand;
use super::tree::{Id, Node};
use crate::model::Use;

/// Returns whether a file is a pipeline of GitLab, or a part of one.
pub(super) fn is_of_gitlab(path: &str, name: &str) -> bool {
    name.ends_with(".gitlab-ci.yml")
        || name.ends_with(".gitlab-ci.yaml")
        || path.contains(".gitlab-ci/")
        || path.starts_with(".gitlab/")
        || path.contains("/.gitlab/")
}

impl Finder<'_> {
    /// Finds `image` and `services` of the file, of `default` and of jobs. Variables of the file are expanded; those of
    /// the project and of GitLab itself are not known.
    pub(super) fn pipeline(&mut self, root: Id) {
        let tree = self.tree;
        let common = self.variables(root);
        let jobs = tree.pairs(root).iter().map(|(_, value)| *value);
        let jobs = jobs.filter(|id| !tree.pairs(*id).is_empty());
        for id in std::iter::once(root).chain(jobs).collect::<Vec<_>>() {
            let mut values = common.clone();
            values.extend(self.variables(id));
            if let Some(image) = tree.get(id, "image") {
                self.named(image, &values);
            }
            if let Some(services) = tree.get(id, "services") {
                tree.list(services)
                    .iter()
                    .for_each(|service| self.named(*service, &values));
            }
        }
    }

    fn variables(&self, id: Id) -> BTreeMap<String, String> {
        let tree = self.tree;
        let variables = tree
            .get(id, "variables")
            .map(|id| tree.pairs(id))
            .unwrap_or_default();
        let value = |id: Id| tree.value(id).or_else(|| tree.text(id, "value"));
        let pairs = variables
            .iter()
            .filter_map(|(name, id)| Some((tree.scalar(*name)?.to_owned(), value(*id)?.to_owned())));
        pairs.collect()
    }

    fn named(&mut self, id: Id, values: &BTreeMap<String, String>) {
        let tree = self.tree;
        let id = match tree.node(id) {
            Node::Map(_) => match tree.get(id, "name") {
                Some(name) => name,
                None => return,
            },
            _ => id,
        };
        let Some(text) = tree.value(id).filter(|text| text.contains('$')) else {
            return self.image(id);
        };
        match expanded(text, values) {
            Some(expanded) => {
                let span = self.text_span(id, text);
                let image = super::read_image(&expanded);
                self.push(Use {
                    raw: text.to_owned(),
                    expanded: Some(expanded),
                    image,
                    ..self.workload(span)
                });
            }
            // A template, as the value is set elsewhere.
            None => self.image(id),
        }
    }
}

/// Expands variables, whose values may have variables too. `None` if one has no value.
fn expanded(text: &str, values: &BTreeMap<String, String>) -> Option<String> {
    const MAX_ROUNDS: usize = 8;
    let mut text = text.to_owned();
    for _ in 0..MAX_ROUNDS {
        if !text.contains('$') {
            return Some(text);
        }
        let (next, missing) = expand(&text, values).ok()?;
        if !missing.is_empty() {
            return None;
        }
        text = next;
    }
    None
}
