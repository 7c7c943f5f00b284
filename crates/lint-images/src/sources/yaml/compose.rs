//! Compose files.

use std::collections::BTreeMap;

use super::tree::{Id, Node, Tree};
use super::{Finder, has_word, is_placeholder, read_image};
use crate::model::{ImageError, Use};

/// Returns whether a document is a compose file: by its name, or by services with an image or a build.
pub(super) fn is_compose(tree: &Tree, root: Id, name: &str) -> bool {
    let Some(services) = tree.get(root, "services") else {
        return false;
    };
    has_word(name, "compose")
        || tree.pairs(services).iter().any(|(_, service)| {
            tree.get(*service, "image").is_some() || tree.get(*service, "build").is_some()
        })
}

impl Finder<'_> {
    /// Finds the images of services, except those that a service of the file builds: they are results. Finds what the
    /// builds use too.
    pub(super) fn compose(&mut self, root: Id) {
        let tree = self.tree;
        let values = self.compose_values();
        let services: Vec<Id> = tree
            .get(root, "services")
            .map(|services| tree.pairs(services).iter().map(|(_, service)| *service).collect())
            .unwrap_or_default();
        let is_built = |service: &Id| {
            tree.get(*service, "build")
                .is_some_and(|build| tree.value(build).is_some() || !tree.pairs(build).is_empty())
        };
        let image_of = |service: Id| tree.get(service, "image").filter(|id| tree.value(*id).is_some());
        let text_of = |id: Id| expand(tree.value(id).unwrap_or_default(), &values).map(|(text, _)| text);
        let (built, others): (Vec<Id>, Vec<Id>) = services.into_iter().partition(is_built);
        let own: Vec<String> = built
            .iter()
            .filter_map(|service| text_of(image_of(*service)?).ok())
            .map(|text| full_name(&text))
            .collect();
        for id in built.iter().filter_map(|service| image_of(*service)) {
            self.ignored.insert(id);
        }
        for service in built {
            if let Some(build) = tree.get(service, "build") {
                self.compose_build(build, &values);
            }
        }
        for id in others.into_iter().filter_map(image_of) {
            if text_of(id).is_ok_and(|text| own.contains(&full_name(&text))) {
                self.ignored.insert(id);
                continue;
            }
            self.interpolated(id, &values);
        }
    }

    /// Returns the values of variables: those of `.env` beside the file, then the policy's and the command line's.
    fn compose_values(&self) -> BTreeMap<String, String> {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = [folder, if folder.is_empty() { "" } else { "/" }, ".env"].concat();
        let text = match self.text.contains('$') {
            true => self.store.read(&path).unwrap_or_default(),
            false => String::new(),
        };
        let mut values = environment(&text);
        let given = &self.policy.build_arguments;
        values.extend(given.iter().map(|(name, value)| (name.clone(), value.clone())));
        values
    }

    /// Adds an image with `${VARIABLE:-default}` of compose expanded.
    fn interpolated(&mut self, id: Id, values: &BTreeMap<String, String>) {
        let Node::Scalar { text, .. } = self.tree.node(id) else {
            return;
        };
        if !text.contains('$') {
            return self.image(id);
        }
        let (expanded, image) = match expand(text, values) {
            Ok((text, _)) if is_placeholder(&text) => return self.image(id),
            Ok((expanded, missing)) if missing.is_empty() => (Some(expanded.clone()), read_image(&expanded)),
            Ok((_, missing)) => {
                let names = missing.join(", ");
                let reason = format!("no value in .env and no default for variable {names}");
                (None, Err(ImageError::Unresolved(reason)))
            }
            Err(reason) => (None, Err(ImageError::Unresolved(reason))),
        };
        let span = self.text_span(id, text);
        self.push(Use {
            raw: text.clone(),
            expanded,
            image,
            ..self.workload(span)
        });
    }
}

/// Expands the shell's syntax of compose, with `$$` for a dollar sign. Returns the variables without a value too.
pub(super) fn expand(text: &str, values: &BTreeMap<String, String>) -> Result<(String, Vec<String>), String> {
    let expanded = dockerfile::expand(&text.replace("$$", "\\$"), '\\', values);
    let expanded = expanded.map_err(|error| error.to_string())?;
    Ok((expanded.text, expanded.missing))
}

/// Returns the full name of an image, or the text if it is none.
fn full_name(text: &str) -> String {
    text.parse::<dockerfile::ImageReference>()
        .map_or_else(|_| text.to_owned(), |image| image.to_string())
}

/// Parses an environment file: `NAME=VALUE` lines, optionally with `export`, quotes, comments and earlier variables.
fn environment(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim().trim_start_matches("export ").trim_start();
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let value = value.trim();
        let value = match value.strip_prefix('\'') {
            Some(rest) => rest.split('\'').next().unwrap_or_default().to_owned(),
            None => {
                let value = match value.strip_prefix('"') {
                    Some(rest) => rest.split('"').next().unwrap_or_default(),
                    None => value.split(" #").next().unwrap_or_default().trim_end(),
                };
                expand(value, &values).map_or_else(|_| value.to_owned(), |(text, _)| text)
            }
        };
        values.insert(name.trim().to_owned(), value);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_environment_files() {
        let text = "# A=0\nA=1\nexport B = \"x y\" # note\nC='$A'\nD=${A}-d # note\nE=\nF\n";
        let values = environment(text);
        let values: Vec<_> = values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            values,
            [("A", "1"), ("B", "x y"), ("C", "$A"), ("D", "1-d"), ("E", "")]
        );
    }
}
