//! Images in YAML: Kubernetes manifests and custom resources with pod templates, kustomizations, kind clusters,
//! compose files, CI workflows, Helm values. Helm and other templates are told apart: said, and not judged.

mod compose;
mod helm;
mod kubernetes;
mod pipelines;
mod tree;

use std::collections::HashSet;
use std::ops::Range;

use dockerfile::{ImageReference, ReferenceError};

use self::tree::{Id, Node, NotYaml, Tree};
use super::allowances;
use crate::model::{File, NoImage, NotJudged, Places, Role, Use};

/// Words without which no YAML file names an image: most files are never read further.
const SIGNS: [&[u8]; 5] = [b"image", b"uses:", b"container", b"newName", b"docker://"];

/// Template marks: Helm, Jinja, minijinja.
const TEMPLATE: &str = "{{";

/// Reads a YAML file.
pub(super) fn read(file: &mut File, text: &str) {
    if !SIGNS
        .iter()
        .any(|sign| memchr::memmem::find(text.as_bytes(), sign).is_some())
    {
        return;
    }
    file.allowances = allowances(text);
    let (tree, error) = Tree::read(text);
    let mut finder = Finder {
        tree: &tree,
        places: Places::new(text),
        text,
        name: file.path.rsplit('/').next().unwrap_or_default().to_owned(),
        seen: HashSet::new(),
        uses: Vec::new(),
        not_judged: Vec::new(),
    };
    match error {
        Some(NotYaml { line, .. }) if is_template(text) => {
            finder.not_judged.push(template(
                line,
                "template, no YAML before it is rendered: judge what it renders to",
            ));
        }
        Some(NotYaml { line, reason }) => {
            let reason = format!("no YAML: {reason}");
            finder.not_judged.push(NotJudged {
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
    finder.uses.sort_by_key(|each| each.place.span.start);
    (file.uses, file.not_judged) = (finder.uses, finder.not_judged);
}

/// `${{ … }}` is a workflow's expression, in a file that is YAML all the same.
fn is_template(text: &str) -> bool {
    text.match_indices(TEMPLATE)
        .any(|(at, _)| !text[..at].ends_with('$'))
        || text.contains("{%")
}

fn template(line: usize, reason: &str) -> NotJudged {
    NotJudged {
        line: Some(line),
        reason: reason.to_owned(),
        unreadable: false,
    }
}

/// Looks for images in the documents of one file; its submodules know where each kind of document has them.
struct Finder<'a> {
    tree: &'a Tree,
    places: Places<'a>,
    text: &'a str,
    /// The file's name without its folders.
    name: String,
    /// Where images were found, so that an anchor used twice is one image.
    seen: HashSet<usize>,
    uses: Vec<Use>,
    not_judged: Vec<NotJudged>,
}

/// How deep a document is looked into; deeper ones are made to hurt.
const DEEPEST: usize = 64;

impl Finder<'_> {
    /// Tells what a document is by its keys, else by the file's name.
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
            self.resource(root, DEEPEST);
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
            self.values(root, DEEPEST);
        }
    }

    /// The image under a key of a mapping, if there is one.
    fn image_at(&mut self, id: Id, key: &str) {
        if let Some(value) = self.tree.get(id, key) {
            self.image(value);
        }
    }

    /// A scalar that is an image.
    fn image(&mut self, id: Id) {
        let Node::Scalar { text, span, plain } = self.tree.node(id) else {
            return;
        };
        if *plain && matches!(text.as_str(), "" | "~" | "null") {
            return;
        }
        // The span of a quoted scalar has its quotes; where the text is written plainly within, it alone is meant.
        let written = self.text.get(span.clone()).unwrap_or_default();
        let span = match written.find(text.as_str()) {
            Some(at) => span.start + at..span.start + at + text.len(),
            None => span.clone(),
        };
        self.add(text.clone(), text.clone(), span);
    }

    /// An image that is put together from several scalars; its place is the name's.
    fn composed(&mut self, id: Id, text: String) {
        if let Node::Scalar { span, .. } = self.tree.node(id) {
            self.add(text.clone(), text, span.clone());
        }
    }

    /// An image with no variables of its own: `raw` as it is written, `expanded` as it is meant.
    fn add(&mut self, raw: String, expanded: String, span: Range<usize>) {
        if expanded.contains(TEMPLATE) || expanded.contains("$(") {
            if self.seen.insert(span.start) {
                let line = self.places.place(span).line;
                self.not_judged.push(template(
                    line,
                    &format!("the image {raw} is a template: judge what it renders to"),
                ));
            }
            return;
        }
        let image = read_image(&expanded);
        let literal = self.text.get(span.clone()) == Some(expanded.as_str());
        self.push(raw, Some(expanded), image, span, literal);
    }

    /// Notes an image, unless one was found at the same place.
    fn push(
        &mut self,
        raw: String,
        expanded: Option<String>,
        image: Result<ImageReference, NoImage>,
        span: Range<usize>,
        literal: bool,
    ) {
        if !self.seen.insert(span.start) {
            return;
        }
        let place = self.places.place(span);
        let line = place.line;
        let (kind, role) = ("workload", Role::Workload);
        self.uses.push(Use {
            place,
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

fn read_image(text: &str) -> Result<ImageReference, NoImage> {
    text.parse()
        .map_err(|error: ReferenceError| NoImage::Illegal(error.to_string()))
}
