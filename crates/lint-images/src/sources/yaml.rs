//! Images in YAML: Kubernetes manifests and custom resources with pod templates, kustomizations, kind clusters,
//! compose files, CI workflows, Helm values. Templates (Helm, Jinja) are skipped.

mod compose;
mod helm;
mod kubernetes;
mod pipelines;
mod tree;

use std::collections::HashSet;
use std::ops::Range;

use dockerfile::{ImageReference, ReferenceError};

use self::tree::{Id, Node, SyntaxError, Tree};
use super::allowances;
use crate::model::{File, ImageError, Locations, Role, Skipped, Use};

/// Words of which at least one occurs in every YAML file with an image, so that most files are not parsed.
const HINTS: [&[u8]; 5] = [b"image", b"uses:", b"container", b"newName", b"docker://"];

/// Start of a template expression of Helm, Jinja and minijinja.
const TEMPLATE: &str = "{{";

/// Reads a YAML file.
pub(super) fn read(file: &mut File, text: &str) {
    if !HINTS
        .iter()
        .any(|hint| memchr::memmem::find(text.as_bytes(), hint).is_some())
    {
        return;
    }
    file.allowances = allowances(text);
    let (tree, error) = Tree::read(text);
    let mut finder = Finder {
        tree: &tree,
        locations: Locations::new(text),
        text,
        name: file.path.rsplit('/').next().unwrap_or_default().to_owned(),
        seen: HashSet::new(),
        uses: Vec::new(),
        skipped: Vec::new(),
    };
    match error {
        Some(SyntaxError { line, .. }) if is_template(text) => {
            finder.skipped.push(template(
                line,
                "template: not YAML until rendered; check the rendered file",
            ));
        }
        Some(SyntaxError { line, reason }) => {
            let reason = format!("invalid YAML: {reason}");
            finder.skipped.push(Skipped {
                line: Some(line),
                reason,
                unreadable: true,
            });
        }
        None => {
            for document in &tree.documents {
                finder.document(*document);
            }
        }
    }
    finder.uses.sort_by_key(|each| each.location.span.start);
    (file.uses, file.skipped) = (finder.uses, finder.skipped);
}

/// Returns whether a text is a template. Expressions of workflows, `${{ … }}`, are valid YAML.
fn is_template(text: &str) -> bool {
    text.match_indices(TEMPLATE)
        .any(|(at, _)| !text[..at].ends_with('$'))
        || text.contains("{%")
}

fn template(line: usize, reason: &str) -> Skipped {
    Skipped {
        line: Some(line),
        reason: reason.to_owned(),
        unreadable: false,
    }
}

/// Finds the images in the documents of one file. Submodules implement the kinds of documents.
struct Finder<'a> {
    tree: &'a Tree,
    locations: Locations<'a>,
    text: &'a str,
    /// Name of the file without its folders.
    name: String,
    /// Start offsets of images, so that an anchor used twice is one image.
    seen: HashSet<usize>,
    uses: Vec<Use>,
    skipped: Vec<Skipped>,
}

/// Maximum depth in a document, against malicious files.
const MAX_DEPTH: usize = 64;

impl Finder<'_> {
    /// Selects the kind of a document by its keys, else by the file's name.
    fn document(&mut self, root: Id) {
        let api = self.tree.text(root, "apiVersion").unwrap_or_default();
        let kind = self.tree.text(root, "kind").unwrap_or_default();
        let is_kustomization = matches!(kind, "Kustomization" | "Component") && api.starts_with("kustomize")
            || matches!(self.name.as_str(), "kustomization.yaml" | "kustomization.yml");
        if is_kustomization {
            self.kustomization(root);
        } else if api.starts_with("kind.x-k8s.io") {
            self.each_image_of(root, "nodes");
        } else if !api.is_empty() && !kind.is_empty() {
            self.resource(root, MAX_DEPTH);
        } else if self.tree.get(root, "jobs").is_some() {
            self.workflow(root);
        } else if let Some(runs) = self.tree.get(root, "runs") {
            self.docker_uri(runs, "image");
            self.steps(runs);
        } else if self.tree.get(root, "services").is_some() && self.name != ".gitlab-ci.yml" {
            self.compose(root);
        } else if self.name == ".gitlab-ci.yml" {
            self.pipeline(root);
        } else if self.name.starts_with("values") {
            self.values(root, MAX_DEPTH);
        }
    }

    /// Adds the image at a key of a mapping.
    fn image_at(&mut self, id: Id, key: &str) {
        if let Some(value) = self.tree.get(id, key) {
            self.image(value);
        }
    }

    /// Adds the image in a scalar.
    fn image(&mut self, id: Id) {
        let Node::Scalar { text, span, plain } = self.tree.node(id) else {
            return;
        };
        if *plain && matches!(text.as_str(), "" | "~" | "null") {
            return;
        }
        // The span of a quoted scalar includes its quotes; narrow it if the text occurs literally within.
        let written = self.text.get(span.clone()).unwrap_or_default();
        let span = match written.find(text.as_str()) {
            Some(at) => span.start + at..span.start + at + text.len(),
            None => span.clone(),
        };
        self.add(text.clone(), text.clone(), span);
    }

    /// Adds an image composed from several scalars, located at its name.
    fn composed(&mut self, id: Id, text: String) {
        if let Node::Scalar { span, .. } = self.tree.node(id) {
            self.add(text.clone(), text, span.clone());
        }
    }

    /// Adds an image without variables: `raw` as written, `expanded` as meant.
    fn add(&mut self, raw: String, expanded: String, span: Range<usize>) {
        if expanded.contains(TEMPLATE) || expanded.contains("$(") {
            if self.seen.insert(span.start) {
                let line = self.locations.of(span).line;
                self.skipped.push(template(
                    line,
                    &format!("image {raw} is a template: check the rendered file"),
                ));
            }
            return;
        }
        let image = read_image(&expanded);
        let literal = self.text.get(span.clone()) == Some(expanded.as_str());
        self.push(raw, Some(expanded), image, span, literal);
    }

    /// Adds an image, unless one was found at the same location.
    fn push(
        &mut self,
        raw: String,
        expanded: Option<String>,
        image: Result<ImageReference, ImageError>,
        span: Range<usize>,
        literal: bool,
    ) {
        if !self.seen.insert(span.start) {
            return;
        }
        let location = self.locations.of(span);
        let line = location.line;
        let (kind, role) = ("workload", Role::Workload);
        self.uses.push(Use {
            location,
            line,
            kind,
            role,
            stage: None,
            raw,
            expanded,
            image,
            literal,
        });
    }
}

fn read_image(text: &str) -> Result<ImageReference, ImageError> {
    text.parse()
        .map_err(|error: ReferenceError| ImageError::Invalid(error.to_string()))
}
