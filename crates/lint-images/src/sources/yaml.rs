//! Images in YAML: Kubernetes manifests and custom resources with pod templates, kustomizations, kind clusters,
//! compose files, CI workflows, Helm values. Helm and other templates are told apart: said, and not judged.

use std::collections::HashSet;
use std::ops::Range;

use dockerfile::{ImageReference, ReferenceError};

use super::yaml_tree::{Id, Node, NotYaml, Tree};
use super::{Places, allowances};
use crate::model::{File, NoImage, NotJudged, Role, Use};
use crate::policy::Policy;

/// Words without which no YAML file names an image: most files are never read further.
const SIGNS: [&[u8]; 5] = [b"image", b"uses:", b"container", b"newName", b"docker://"];

/// Template marks: Helm, Jinja, minijinja.
const TEMPLATE: &str = "{{";

pub(crate) fn read(file: &mut File, _policy: &Policy) {
    if !SIGNS
        .iter()
        .any(|sign| memchr::memmem::find(file.text.as_bytes(), sign).is_some())
    {
        return;
    }
    let text = std::mem::take(&mut file.text);
    file.allowances = allowances(&text);
    let (tree, error) = Tree::read(&text);
    let mut finder = Finder {
        tree: &tree,
        places: Places::new(&text),
        text: &text,
        name: file.path.rsplit('/').next().unwrap_or_default().to_owned(),
        seen: HashSet::new(),
        uses: Vec::new(),
        not_judged: Vec::new(),
    };
    match error {
        Some(NotYaml { line, .. }) if is_template(&text) => {
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
    file.text = text;
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

struct Finder<'a> {
    tree: &'a Tree,
    places: Places<'a>,
    text: &'a str,
    name: String,
    /// Where images were found, so that an anchor used twice is one image.
    seen: HashSet<usize>,
    uses: Vec<Use>,
    not_judged: Vec<NotJudged>,
}

/// How deep a document is looked into; deeper ones are made to hurt.
const DEEPEST: usize = 64;

impl Finder<'_> {
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

    /// A Kubernetes resource, of any kind: containers are lists of mappings under these keys wherever they are, so
    /// that lists of resources and custom resources with pod templates need no knowledge of their own.
    fn resource(&mut self, id: Id, deepest: usize) {
        // An anchor is looked into where it stands: followed from each alias, a few lines could be a billion.
        if deepest == 0 || self.tree.is_link(id) {
            return;
        }
        match self.tree.node(id) {
            Node::List(items) => items.iter().for_each(|item| self.resource(*item, deepest - 1)),
            Node::Map(pairs) => {
                for (key, value) in pairs {
                    match self.tree.scalar(*key) {
                        Some("containers" | "initContainers" | "ephemeralContainers") => {
                            self.containers(*value)
                        }
                        // An image as a volume.
                        Some("volumes") => self.image_volumes(*value),
                        _ => {}
                    }
                    self.resource(*value, deepest - 1);
                }
            }
            _ => {}
        }
    }

    fn containers(&mut self, id: Id) {
        for item in self.tree.list(id) {
            self.image_at(*item, "image");
        }
        // Some custom resources have containers by name.
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

    /// The images of a list of mappings.
    fn each_image_of(&mut self, root: Id, key: &str) {
        if let Some(list) = self.tree.get(root, key) {
            self.tree
                .list(list)
                .iter()
                .for_each(|item| self.image_at(*item, "image"));
        }
    }

    /// `images:` of a kustomization say what an image becomes.
    fn kustomization(&mut self, root: Id) {
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

    fn workflow(&mut self, root: Id) {
        let Some(jobs) = self.tree.get(root, "jobs") else {
            return;
        };
        for (_, job) in self.tree.pairs(jobs) {
            if let Some(container) = self.tree.get(*job, "container") {
                match self.tree.scalar(container) {
                    Some(_) => self.image(container),
                    None => self.image_at(container, "image"),
                }
            }
            if let Some(services) = self.tree.get(*job, "services") {
                for (_, service) in self.tree.pairs(services) {
                    self.image_at(*service, "image");
                }
            }
            self.steps(*job);
        }
    }

    /// `uses: docker://IMAGE`
    fn steps(&mut self, id: Id) {
        if let Some(steps) = self.tree.get(id, "steps") {
            self.tree
                .list(steps)
                .iter()
                .for_each(|step| self.docker_uri(*step, "uses"));
        }
    }

    fn docker_uri(&mut self, id: Id, key: &str) {
        const SCHEME: &str = "docker://";
        let Some(value) = self.tree.get(id, key) else {
            return;
        };
        let Node::Scalar { text, span, .. } = self.tree.node(value) else {
            return;
        };
        if let Some(image) = text.strip_prefix(SCHEME) {
            let start = self
                .text
                .get(span.clone())
                .and_then(|raw| raw.find(SCHEME))
                .map_or(0, |at| at + SCHEME.len());
            let from = span.start + start;
            self.add(image.to_owned(), image.to_owned(), from..from + image.len());
        }
    }

    /// Compose: a service that is built names its result, which is pulled from nowhere.
    fn compose(&mut self, root: Id) {
        let Some(services) = self.tree.get(root, "services") else {
            return;
        };
        for (_, service) in self.tree.pairs(services) {
            let Some(id) = self.tree.get(*service, "image") else {
                continue;
            };
            if self.tree.get(*service, "build").is_some() {
                continue;
            }
            let Node::Scalar { text, span, .. } = self.tree.node(id) else {
                continue;
            };
            match text.contains('$') {
                false => self.image(id),
                true => self.interpolated(text.clone(), span.clone()),
            }
        }
    }

    /// `${VARIABLE:-default}` as compose has it, which is as a shell has it but for `$$`.
    fn interpolated(&mut self, text: String, span: Range<usize>) {
        let expanded = dockerfile::expand(&text.replace("$$", "\\$"), '\\', &());
        let (expanded, image) = match expanded {
            Ok(expanded) if expanded.missing.is_empty() => {
                (Some(expanded.text.clone()), read_image(&expanded.text))
            }
            Ok(expanded) => {
                let names = expanded.missing.join(", ");
                (
                    None,
                    Err(NoImage::Unresolved(format!(
                        "variable {names} has no value and no default"
                    ))),
                )
            }
            Err(error) => (None, Err(NoImage::Unresolved(error.to_string()))),
        };
        self.push(text, expanded, image, span, false);
    }

    /// GitLab: `image` and `services` of the file, of `default` and of jobs, as text or with a name.
    fn pipeline(&mut self, root: Id) {
        let jobs = self
            .tree
            .pairs(root)
            .iter()
            .map(|(_, value)| *value)
            .filter(|id| !self.tree.pairs(*id).is_empty());
        for id in std::iter::once(root).chain(jobs).collect::<Vec<_>>() {
            if let Some(image) = self.tree.get(id, "image") {
                self.named(image);
            }
            if let Some(services) = self.tree.get(id, "services") {
                self.tree
                    .list(services)
                    .iter()
                    .for_each(|service| self.named(*service));
            }
        }
    }

    fn named(&mut self, id: Id) {
        match self.tree.scalar(id) {
            Some(_) => self.image(id),
            None => self.image_at(id, "name"),
        }
    }

    /// Helm's values: `image` as text, or with `repository` and perhaps `registry`, `tag` and `digest`.
    fn values(&mut self, id: Id, deepest: usize) {
        if deepest == 0 || self.tree.is_link(id) {
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
                self.values(*value, deepest - 1);
            }
        }
        self.tree
            .list(id)
            .iter()
            .for_each(|item| self.values(*item, deepest - 1));
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
