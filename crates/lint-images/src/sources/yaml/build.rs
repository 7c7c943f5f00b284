//! Builds of compose files: Dockerfiles within the file, named contexts, and arguments that select a base image.

use std::collections::BTreeMap;

use dockerfile::{Images, ReferenceKind};

use super::compose::expand;
use super::tree::{Id, Node};
use super::{Finder, read_image};
use crate::model::{ImageError, Role, Use};
use crate::sources::beside;

impl Finder<'_> {
    pub(super) fn compose_build(&mut self, build: Id, values: &BTreeMap<String, String>) {
        let tree = self.tree;
        if let Some(contexts) = tree.get(build, "additional_contexts") {
            self.contexts(contexts);
        }
        let arguments = self.arguments(build, values);
        if let Some(inline) = tree.get(build, "dockerfile_inline") {
            return self.inline(inline, &arguments, values);
        }
        if arguments.is_empty() {
            return;
        }
        let context = tree
            .scalar(build)
            .or_else(|| tree.text(build, "context"))
            .unwrap_or(".");
        let name = tree.text(build, "dockerfile").unwrap_or("Dockerfile");
        let path = beside(&self.path, &format!("{context}/{name}"));
        match self.store.read(&path) {
            Ok(text) => self.selected(&text, &arguments),
            // The build's context is elsewhere, or absent.
            Err(_) => self.possible(&arguments),
        }
    }

    /// Adds named contexts that are images: `NAME: docker-image://IMAGE`, or `NAME=docker-image://IMAGE` in a list.
    fn contexts(&mut self, contexts: Id) {
        const SCHEME: &str = "docker-image://";
        let tree = self.tree;
        let pairs = tree.pairs(contexts).iter().map(|(_, value)| *value);
        for id in pairs
            .chain(tree.list(contexts).iter().copied())
            .collect::<Vec<_>>()
        {
            let text = tree.value(id).unwrap_or_default();
            if let Some((_, image)) = text.split_once(SCHEME) {
                let image = image.to_owned();
                let span = self.text_span(id, &image);
                let each = Use {
                    kind: "build-context",
                    role: Role::Build,
                    image: read_image(&image),
                    literal: self.text.get(span.clone()) == Some(image.as_str()),
                    expanded: Some(image.clone()),
                    raw: image,
                    ..self.workload(span)
                };
                self.push(each);
            }
        }
    }

    /// Returns the build's arguments with their values and nodes.
    fn arguments(&self, build: Id, values: &BTreeMap<String, String>) -> BTreeMap<String, (String, Id)> {
        let tree = self.tree;
        let Some(arguments) = tree.get(build, "args") else {
            return BTreeMap::new();
        };
        let expanded = |text: &str| expand(text, values).map_or_else(|_| text.to_owned(), |(text, _)| text);
        let pairs = tree.pairs(arguments).iter().filter_map(|(name, value)| {
            Some((
                tree.scalar(*name)?.to_owned(),
                (expanded(tree.value(*value)?), *value),
            ))
        });
        let items = tree.list(arguments).iter().filter_map(|item| {
            let (name, value) = tree.scalar(*item)?.split_once('=')?;
            Some((name.to_owned(), (expanded(value), *item)))
        });
        pairs.chain(items).collect()
    }

    /// Adds the images that a Dockerfile uses with the arguments, and not without them, at their arguments.
    fn selected(&mut self, text: &str, arguments: &BTreeMap<String, (String, Id)>) {
        let parsed = dockerfile::parse(text);
        let own = dockerfile::images(&parsed, &self.policy.build_arguments);
        let given = dockerfile::images(&parsed, &self.with(arguments));
        for (with, without) in given.references.iter().zip(&own.references) {
            let argument = arguments.iter().find(|(name, _)| mentions(&with.raw, name));
            if with.expanded != without.expanded
                && let Some((_, (_, id))) = argument
            {
                let role = role_of(with, &given);
                let each = Use {
                    role,
                    raw: with.raw.clone(),
                    expanded: with.expanded.clone(),
                    image: with
                        .image
                        .clone()
                        .map_err(|reason| ImageError::Unresolved(reason.to_string())),
                    kind: "build-argument",
                    ..self.workload(self.tree.span(*id))
                };
                self.push(each);
            }
        }
    }

    fn with(&self, arguments: &BTreeMap<String, (String, Id)>) -> BTreeMap<String, String> {
        let given = arguments
            .iter()
            .map(|(name, (value, _))| (name.clone(), value.clone()));
        self.policy
            .build_arguments
            .clone()
            .into_iter()
            .chain(given)
            .collect()
    }

    /// Adds arguments that are images by their names and values.
    fn possible(&mut self, arguments: &BTreeMap<String, (String, Id)>) {
        for (name, (value, id)) in arguments {
            let upper = name.to_ascii_uppercase();
            if (upper.contains("IMAGE") || upper.contains("BASE"))
                && let Ok(image) = value.parse::<dockerfile::ImageReference>()
                && (value.contains('/') || image.tag().is_some())
            {
                let each = Use {
                    kind: "build-argument",
                    role: Role::Build,
                    raw: value.clone(),
                    expanded: Some(value.clone()),
                    image: Ok(image),
                    ..self.workload(self.tree.span(*id))
                };
                self.push(each);
            }
        }
    }

    /// Adds the images of a Dockerfile within the file, located at its lines.
    fn inline(
        &mut self,
        id: Id,
        arguments: &BTreeMap<String, (String, Id)>,
        values: &BTreeMap<String, String>,
    ) {
        let Node::Scalar { text, span, .. } = self.tree.node(id) else {
            return;
        };
        let parsed = dockerfile::parse(text);
        let images = dockerfile::images(&parsed, &self.with(arguments));
        let block = self.text.get(span.clone()).unwrap_or_default();
        let mut from = 0;
        for each in &images.references {
            // References are in order, and each is on a line of the block as it is written.
            let at = block
                .get(from..)
                .and_then(|rest| rest.find(&each.raw))
                .map_or(from, |at| from + at);
            from = at + each.raw.len();
            let found = span.start + at..span.start + at + each.raw.len();
            let literal = each.expanded.as_deref() == self.text.get(found.clone());
            let is_missing = matches!(each.image, Err(dockerfile::Unresolved::Missing(_)));
            // Compose expands variables before the build does.
            let by_compose = expand(&each.raw, values)
                .ok()
                .filter(|(_, missing)| missing.is_empty());
            if let (true, Some((text, _))) = (is_missing, by_compose) {
                let image = read_image(&text);
                let (kind, role, raw) = (each.kind.name(), role_of(each, &images), each.raw.clone());
                let workload = self.workload(found);
                self.push(Use {
                    kind,
                    role,
                    raw,
                    expanded: Some(text),
                    image,
                    ..workload
                });
                continue;
            }
            let one = Use {
                kind: each.kind.name(),
                role: role_of(each, &images),
                raw: each.raw.clone(),
                expanded: each.expanded.clone().filter(|_| !is_missing),
                image: each
                    .image
                    .clone()
                    .map_err(|reason| ImageError::Unresolved(reason.to_string())),
                literal,
                ..self.workload(found)
            };
            self.push(one);
        }
    }
}

/// Returns whether a text has a variable.
fn mentions(text: &str, name: &str) -> bool {
    text.contains(&format!("${name}")) || text.contains(&format!("${{{name}"))
}

fn role_of(reference: &dockerfile::Reference, images: &Images) -> Role {
    let stage = reference.stage.and_then(|stage| images.stages.get(stage));
    match stage {
        Some(stage) if reference.kind == ReferenceKind::From && stage.is_result => Role::Runtime,
        _ => Role::Build,
    }
}
