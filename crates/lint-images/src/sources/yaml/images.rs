//! Images by their keys, in Kubernetes resources and Helm values: `image`, `…Image`, `images`, and their parts.

use dockerfile::ImageReference;

use super::Finder;
use super::placeholders::is_placeholder;
use super::tree::{Id, Node, Tree};

/// Meaning of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// `image`.
    Image,
    /// `sidecarImage`, `sidecar_image`, `imageName`.
    Named,
    /// `images`, `sidecarImages`.
    Several,
    Other,
}

/// Returns the meaning of a key.
pub(super) fn key(name: &str) -> Key {
    /// Keys of pictures, and of images of machines.
    const OTHERS: [&str; 5] = [
        "vmImage",
        "backgroundImage",
        "coverImage",
        "osImage",
        "machineImage",
    ];
    let ends = |end: &str| {
        name.strip_suffix(end).is_some_and(|rest| {
            end.starts_with(char::is_uppercase) || rest.is_empty() || rest.ends_with(['_', '-', '.'])
        })
    };
    match name {
        "image" | "Image" => Key::Image,
        "imageName" | "image_name" | "imageRepository" | "imageUrl" | "imageURL" | "image_url" => Key::Named,
        name if OTHERS.contains(&name) => Key::Other,
        _ if ends("images") || ends("Images") => Key::Several,
        _ if ends("image") || ends("Image") || ends("IMAGE") || ends("ImageName") => Key::Named,
        _ => Key::Other,
    }
}

/// What sets the tag of an image that has none.
const CHART: &str = "the chart's templates set it, usually to appVersion";
pub(super) const CONTROLLER: &str = "the controller of the resource may set it";

/// Keys of containers, whose images have the tag `latest` if they have none.
const CONTAINERS: [&str; 8] = [
    "containers",
    "initContainers",
    "ephemeralContainers",
    "container",
    "steps",
    "sidecars",
    "stepTemplate",
    "script",
];

/// Keys in a mapping of an image's parts.
const TAGS: [&str; 4] = ["tag", "imageTag", "version", "image_tag"];
const DIGESTS: [&str; 4] = ["digest", "sha", "sha256", "imageDigest"];
const REGISTRIES: [&str; 3] = ["registry", "imageRegistry", "hub"];

impl Finder<'_> {
    /// Finds the images of Helm values.
    pub(super) fn values(&mut self, id: Id, depth: usize) {
        self.images_below(id, depth, Some(CHART));
    }

    /// Finds the images below a node. `tag_set_by`: what sets the tag of images without one.
    pub(super) fn images_below(&mut self, id: Id, depth: usize, tag_set_by: Option<&'static str>) {
        // Aliases are not followed: nested ones could expand to billions of nodes. Their anchors are visited once.
        if depth == 0 || self.tree.is_alias(id) || self.ignored.contains(&id) {
            return;
        }
        let tree = self.tree;
        if let Node::List(items) = tree.node(id) {
            items
                .iter()
                .for_each(|item| self.images_below(*item, depth - 1, tag_set_by));
            return;
        }
        self.parts(id, "repository", false);
        self.parts(id, "image", false);
        self.named_value(id);
        for (name, value) in tree.pairs(id) {
            if self.ignored.contains(value) {
                continue;
            }
            match (tree.scalar(*name).map_or(Key::Other, key), tree.node(*value)) {
                (Key::Image, Node::Scalar { .. }) if may_be_image(tree, *value) => {
                    self.image_with_tag(*value, tag_set_by);
                }
                (Key::Named, Node::Scalar { .. }) if is_likely(tree, *value, tag_set_by == Some(CHART)) => {
                    self.image_with_tag(*value, tag_set_by);
                }
                (Key::Image | Key::Named | Key::Several, Node::Map(_)) => self.image_parts(*value, depth - 1),
                (Key::Image | Key::Named | Key::Several, Node::List(items)) => {
                    for item in items {
                        match tree.node(*item) {
                            Node::Map(_) => self.image_parts(*item, depth - 1),
                            _ => self.several(*item),
                        }
                    }
                }
                (Key::Other, Node::Scalar { .. }) => {
                    self.text(tree.scalar(*name).unwrap_or_default(), *value)
                }
                (Key::Other, _) => {
                    let name = tree.scalar(*name).unwrap_or_default();
                    let is_container = tag_set_by == Some(CONTROLLER) && CONTAINERS.contains(&name);
                    let tag_set_by = if is_container { None } else { tag_set_by };
                    self.images_below(*value, depth - 1, tag_set_by);
                }
                _ => {}
            }
        }
    }

    /// Finds the image in a mapping of its parts, or the images of a mapping by name.
    pub(super) fn image_parts(&mut self, id: Id, depth: usize) {
        if depth == 0 || self.tree.is_alias(id) {
            return;
        }
        let tree = self.tree;
        if self.kustomize_entry(id) || self.parts(id, "repository", true) || self.parts(id, "image", true) {
            return;
        }
        if let Some(reference) = tree.get(id, "reference") {
            // An image volume.
            return self.image(reference);
        }
        if self.parts(id, "name", true) {
            return;
        }
        for (name, value) in tree.pairs(id) {
            const OTHERS: [&str; 8] = [
                "registry",
                "tag",
                "digest",
                "path",
                "file",
                "url",
                "type",
                "description",
            ];
            let name = tree.scalar(*name).unwrap_or_default();
            match tree.node(*value) {
                Node::Scalar { .. }
                    if OTHERS.contains(&name) || name.to_ascii_lowercase().contains("pull") => {}
                Node::Scalar { .. } => self.several(*value),
                Node::Map(_) => self.image_parts(*value, depth - 1),
                _ => self.images_below(*value, depth - 1, Some(CHART)),
            }
        }
    }

    /// Adds one of several images: a text with a host, a tag or a digest; `old=new` of kustomize is the new one.
    fn several(&mut self, id: Id) {
        let Some(text) = self.tree.value(id) else { return };
        let image = text.rsplit('=').next().unwrap_or(text).to_owned();
        if is_certain(&image) || is_placeholder(&image) {
            let span = self.text_span(id, &image);
            self.add(image.clone(), image, span, None, true);
        }
    }

    /// Adds the image whose name is at `key` and whose other parts are beside it. Unless the mapping `is_image`, it needs
    /// other parts. Returns whether the mapping is one of parts; a null is as good as an absent key.
    fn parts(&mut self, id: Id, key: &str, is_image: bool) -> bool {
        let tree = self.tree;
        let Some(name_id) = tree.get(id, key) else {
            // Parts without a name, such as a tag alone.
            return false;
        };
        let part = |keys: &[&str]| keys.iter().find_map(|key| tree.filled(id, key));
        let has = |keys: &[&str]| keys.iter().any(|key| tree.get(id, key).is_some());
        let has_others = has(&TAGS[..2]) || has(&DIGESTS) || has(&REGISTRIES);
        let is_whole = is_image && key == "repository";
        if !(is_whole || has_others || (is_image && has(&TAGS))) {
            return false;
        }
        let Some(name) = tree.value(name_id).filter(|name| !name.is_empty()) else {
            return matches!(tree.node(name_id), Node::Scalar { .. });
        };
        if name.contains("://") && !is_placeholder(name) {
            return false;
        }
        let known: Option<ImageReference> = name.parse().ok();
        let has_tag = known.as_ref().is_some_and(|image| image.tag().is_some());
        let tags = if is_image { &TAGS[..] } else { &TAGS[..2] };
        let tag = part(tags).filter(|_| !has_tag || key == "repository");
        let digest = part(&DIGESTS).map(|digest| match digest.contains(':') {
            true => digest.to_owned(),
            false => format!("sha256:{digest}"),
        });
        let registry = part(&REGISTRIES).filter(|registry| !name.starts_with(&format!("{registry}/")));
        let mut text = registry
            .map(|registry| format!("{}/", registry.trim_end_matches('/')))
            .unwrap_or_default();
        text.push_str(name);
        text.extend(tag.iter().flat_map(|tag| [":", tag]));
        text.extend(digest.iter().flat_map(|digest| ["@", digest]));
        self.composed(name_id, text, Some(CHART));
        true
    }

    /// Adds the image of a mapping such as `{name: RELATED_IMAGE_X, value: HOST/PATH:TAG}`: an environment variable of a
    /// container, or a parameter with its default.
    fn named_value(&mut self, id: Id) {
        let tree = self.tree;
        let Some(name) = tree.text(id, "name") else { return };
        let upper = name.to_ascii_uppercase();
        if !(upper.ends_with("IMAGE") || upper.contains("_IMAGE_") || upper.starts_with("IMAGE_")) {
            return;
        }
        for key in ["value", "default"] {
            if let Some(value) = tree.get(id, key)
                && tree
                    .value(value)
                    .is_some_and(|text| text.contains('/') && is_certain(text))
            {
                self.image(value);
            }
        }
    }
}

/// Returns whether the text at `image` may be an image, rather than a title, a picture, a number or an address.
pub(super) fn may_be_image(tree: &Tree, id: Id) -> bool {
    tree.value(id).is_some_and(|text| {
        !(text.is_empty()
            || is_plain_value(tree, id)
            || text.contains(char::is_whitespace) && !is_placeholder(text)
            || text.contains("://") && !is_placeholder(text)
            || text.starts_with(['/', '.', '#'])
            || is_picture(text))
    })
}

/// Returns whether a text at a key such as `sidecarImage` is an image: a valid reference, with a host, a tag or a digest
/// unless `any_name`.
pub(super) fn is_likely(tree: &Tree, id: Id, any_name: bool) -> bool {
    let text = tree.value(id).unwrap_or_default();
    let is_reference = text.parse::<ImageReference>().is_ok();
    may_be_image(tree, id)
        && (is_placeholder(text) || is_reference && (any_name || text.contains('/') || is_certain(text)))
}

/// Returns whether a text is a reference with a host, a tag or a digest.
pub(super) fn is_certain(text: &str) -> bool {
    let image: Result<ImageReference, _> = text.parse();
    image.is_ok_and(|image| {
        let host = text
            .split_once('/')
            .is_some_and(|(host, _)| host.contains(['.', ':']));
        !is_picture(text) && (host || image.tag().is_some() || image.digest().is_some())
    })
}

/// Returns whether a plain scalar is a boolean or a number.
fn is_plain_value(tree: &Tree, id: Id) -> bool {
    let Node::Scalar {
        text, plain: true, ..
    } = tree.node(id)
    else {
        return false;
    };
    matches!(text.as_str(), "true" | "false" | "True" | "False" | "yes" | "no") || text.parse::<f64>().is_ok()
}

fn is_picture(text: &str) -> bool {
    const EXTENSIONS: [&str; 13] = [
        "png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "bmp", "iso", "qcow2", "img", "vmdk", "ova",
    ];
    let extension = text
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}
