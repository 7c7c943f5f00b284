//! Images in YAML: Kubernetes resources of any kind, kustomizations, Helm values, compose files, CI pipelines, and the
//! files of `rules.toml` and of the policy. Templates (Helm, Jinja) are skipped.

mod build;
mod compose;
mod embedded;
mod images;
mod kubernetes;
mod pipelines;
mod placeholders;
mod rules;
mod sweep;
mod tree;

pub(crate) use rules::ResourceEntry;

use std::collections::HashSet;
use std::ops::Range;

use dockerfile::{ImageReference, ReferenceError};

use self::placeholders::{is_placeholder, is_template};
use self::tree::{Id, SyntaxError, Tree};
use super::{Store, allowances, names};
use crate::model::{File, ImageError, Locations, Role, Skipped, Use};
use crate::policy::Policy;

/// Words of which at least one occurs in every YAML file with an image, so that most files are not parsed.
const HINTS: [&[u8]; 9] = [
    b"image",
    b"Image",
    b"IMAGE",
    b"uses:",
    b"container",
    b"newName",
    b"repository",
    b"docker",
    b"crossplane",
];

/// Reads a YAML file.
pub(super) fn read(file: &mut File, text: &str, policy: &Policy, store: &Store<'_>) {
    let has = |hint: &[u8]| memchr::memmem::find(text.as_bytes(), hint).is_some();
    if !HINTS.iter().any(|hint| has(hint)) || has_only_schemas(text) {
        return;
    }
    file.allowances = allowances(text);
    let without_comments = file
        .path
        .ends_with(".json")
        .then(|| placeholders::without_comments(text));
    let (tree, error) = Tree::read(without_comments.as_deref().unwrap_or(text));
    let mut finder = Finder::new(&tree, text, &file.path, policy, store);
    match error {
        Some(SyntaxError { line, .. }) if is_template(text) || names::is_template(&file.path) => {
            finder.skip(line, "template: not YAML until rendered; check the rendered file");
        }
        Some(SyntaxError { line, reason }) => {
            let reason = format!("invalid YAML: {reason}");
            finder.skipped.push(Skipped {
                line: Some(line),
                reason,
                unreadable: true,
            });
        }
        None => finder.documents(),
    }
    finder.uses.sort_by_key(|each| each.location.span.start);
    finder.skipped.sort_by_key(|each| each.line);
    (file.uses, file.skipped) = (finder.uses, finder.skipped);
}

/// Returns whether all documents are definitions of custom resources, which are the largest files of many repositories:
/// they describe images, and have none.
fn has_only_schemas(text: &str) -> bool {
    const KIND: &str = "kind: CustomResourceDefinition";
    let is_schema = |document: &str| document.lines().any(|line| line.trim_end() == KIND);
    let has_content = |document: &&str| {
        let mut lines = document.lines();
        lines.any(|line| !line.trim().is_empty() && !line.starts_with(['#', '-', '%']))
    };
    text.contains(KIND) && text.split("\n---").filter(has_content).all(is_schema)
}

/// Finds the images in the documents of one file. Submodules implement the kinds of documents.
struct Finder<'a> {
    tree: &'a Tree,
    locations: Locations<'a>,
    text: &'a str,
    path: String,
    policy: &'a Policy,
    store: &'a Store<'a>,
    /// Start offsets of images, so that an anchor used twice is one image.
    seen: HashSet<usize>,
    /// Nodes that look like images and are none.
    ignored: HashSet<Id>,
    /// Nodes of texts that were read as documents of their own.
    embedded: HashSet<Id>,
    /// Number of documents around this one.
    nesting: usize,
    uses: Vec<Use>,
    skipped: Vec<Skipped>,
}

/// Maximum depth in a document, against malicious files.
const MAX_DEPTH: usize = 64;

impl<'a> Finder<'a> {
    fn new(tree: &'a Tree, text: &'a str, path: &str, policy: &'a Policy, store: &'a Store<'a>) -> Self {
        Finder {
            tree,
            locations: Locations::new(text),
            text,
            path: path.to_owned(),
            policy,
            store,
            seen: HashSet::new(),
            ignored: HashSet::new(),
            embedded: HashSet::new(),
            nesting: 0,
            uses: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn documents(&mut self) {
        for document in &self.tree.documents {
            self.document(*document);
        }
    }

    /// Selects the kind of a document by the file's name and by its keys, then names the images that no kind has.
    fn document(&mut self, root: Id) {
        let policy = self.policy;
        self.by_rules(root, &policy.resources);
        let name = self.path.rsplit('/').next().unwrap_or_default().to_owned();
        let api = self.tree.text(root, "apiVersion").unwrap_or_default();
        let kind = self.tree.text(root, "kind").unwrap_or_default();
        let is_kustomization = matches!(kind, "Kustomization" | "Component")
            && api.starts_with("kustomize.config")
            || matches!(name.as_str(), "kustomization.yaml" | "kustomization.yml");
        if is_kustomization {
            self.kustomization(root);
        } else if !api.is_empty() && !kind.is_empty() {
            self.resource(root, kind, api);
        } else if is_patch(self.tree, root) {
            self.patch(root);
        } else if pipelines::is_of_gitlab(&self.path, &name) {
            self.pipeline(root);
        } else if has_word(&name, "values") || has_word(self.folder(), "values") {
            self.values(root, MAX_DEPTH);
        } else if compose::is_compose(self.tree, root, &name) {
            self.compose(root);
        }
        self.sweep(root, MAX_DEPTH);
    }

    /// Returns the name of the folder that contains the file.
    fn folder(&self) -> &str {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        folder.rsplit('/').next().unwrap_or_default()
    }

    /// Adds the image in a scalar.
    fn image(&mut self, id: Id) {
        self.image_with_tag(id, None);
    }

    fn image_with_tag(&mut self, id: Id, tag_set_by: Option<&'static str>) {
        let Some(text) = self.tree.value(id).filter(|text| !text.is_empty()) else {
            return;
        };
        let text = text.to_owned();
        let span = self.text_span(id, &text);
        self.add(text.clone(), text, span, tag_set_by, true);
    }

    /// Adds the image behind a prefix, such as `docker://`; other texts are no images.
    fn prefixed(&mut self, id: Id, prefix: &str) {
        if let Some(image) = self.tree.value(id).and_then(|text| text.strip_prefix(prefix)) {
            let image = image.to_owned();
            let span = self.text_span(id, &image);
            self.add(image.clone(), image, span, None, true);
        }
    }

    /// Returns the span of a text in a scalar. The span of a quoted scalar includes its quotes.
    fn text_span(&self, id: Id, text: &str) -> Range<usize> {
        let span = self.tree.span(id);
        let written = self.text.get(span.clone()).unwrap_or_default();
        match written.find(text) {
            Some(at) => span.start + at..span.start + at + text.len(),
            None => span,
        }
    }

    /// Adds an image composed from several scalars, located at its name.
    fn composed(&mut self, id: Id, text: String, tag_set_by: Option<&'static str>) {
        let Some(name) = self.tree.scalar(id) else { return };
        let span = self.text_span(id, name);
        self.add(text.clone(), text, span, tag_set_by, false);
    }

    /// Adds an image without variables: `raw` as written, `expanded` as meant. `tag_set_by`: what sets the tag, if the
    /// image has none. `whole`: the text at the span is the whole reference.
    fn add(
        &mut self,
        raw: String,
        expanded: String,
        span: Range<usize>,
        tag_set_by: Option<&'static str>,
        whole: bool,
    ) {
        if is_placeholder(&expanded) {
            if self.seen.insert(span.start) {
                let line = self.locations.of(span).line;
                self.skip(
                    line,
                    &format!("image {raw} is a template: check the rendered file"),
                );
            }
            return;
        }
        let image = read_image(&expanded);
        let literal = whole && self.text.get(span.clone()) == Some(expanded.as_str());
        self.push(Use {
            raw,
            expanded: Some(expanded),
            image,
            literal,
            tag_set_by,
            ..self.workload(span)
        });
    }

    /// Returns a use of a workload without its image.
    fn workload(&self, span: Range<usize>) -> Use {
        let location = self.locations.of(span);
        Use {
            line: location.line,
            location,
            kind: "workload",
            role: Role::Workload,
            stage: None,
            raw: String::new(),
            expanded: None,
            image: Err(ImageError::Invalid(String::new())),
            literal: false,
            tag_set_by: None,
            variables: Vec::new(),
        }
    }

    /// Adds a use, unless one was found at the same location.
    fn push(&mut self, each: Use) {
        if self.seen.insert(each.location.span.start) {
            self.uses.push(each);
        }
    }

    fn skip(&mut self, line: usize, reason: &str) {
        self.skipped.push(Skipped {
            line: Some(line),
            reason: reason.to_owned(),
            unreadable: false,
        });
    }
}

fn read_image(text: &str) -> Result<ImageReference, ImageError> {
    text.parse()
        .map_err(|error: ReferenceError| ImageError::Invalid(error.to_string()))
}

/// Returns whether a document is a JSON patch: a list of operations.
fn is_patch(tree: &Tree, root: Id) -> bool {
    let first = tree.list(root).first();
    first.is_some_and(|first| tree.get(*first, "op").is_some() && tree.get(*first, "path").is_some())
}

/// Returns whether a name has a word between `.`, `-` and `_`.
fn has_word(name: &str, word: &str) -> bool {
    name.split(['.', '-', '_'])
        .any(|part| part.eq_ignore_ascii_case(word))
}
