//! Image patterns and versions of tags.

use std::fmt;

use dockerfile::ImageReference;
use serde::Deserialize;

/// Pattern that matches one image, or all images below a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImagePattern {
    domain: String,
    /// Has no slash at either end; empty only with `below`.
    path: String,
    /// Matches all images below the path.
    below: bool,
}

impl ImagePattern {
    /// Parses `HOST/PATH` or `HOST/PATH/*`.
    pub(crate) fn parse(text: &str) -> Result<ImagePattern, String> {
        let (body, below) = match text.strip_suffix("/*") {
            Some(body) => (body, true),
            None => (text, false),
        };
        let (domain, path) = body.split_once('/').unwrap_or((body, ""));
        // A short name here would depend on a default registry, which is what the policy guards against.
        if !(domain == "localhost" || domain.contains(['.', ':'])) {
            return Err(format!(
                "{text:?} has no registry: write the host first, as in docker.io/library/alpine"
            ));
        }
        let sample = if path.is_empty() {
            format!("{domain}/x")
        } else {
            body.to_owned()
        };
        let legal: Result<ImageReference, _> = sample.parse();
        match legal {
            Err(error) => Err(format!("invalid image {text:?}: {error}")),
            Ok(image) if image.tag().is_some() || image.digest().is_some() => Err(format!(
                "{text:?} has a tag or digest: write allowed tags as a rule beside it"
            )),
            Ok(_) if path.is_empty() && !below => Err(format!(
                "{text:?} is a registry, not an image: append /* for all of its images"
            )),
            Ok(_) => Ok(ImagePattern {
                domain: domain.to_owned(),
                path: path.to_owned(),
                below,
            }),
        }
    }

    /// Parses a host, optionally with the first segments of a path; matches all images below.
    pub(crate) fn prefix(text: &str) -> Result<ImagePattern, String> {
        ImagePattern::parse(&format!(
            "{}/*",
            text.trim_end_matches("/*").trim_end_matches('/')
        ))
    }

    pub(crate) fn matches(&self, image: &ImageReference) -> bool {
        match self.below {
            true => self.rest_of(image).is_some(),
            false => self.path == image.path() && self.domain.eq_ignore_ascii_case(image.domain()),
        }
    }

    /// Returns the image's path below the pattern, if the pattern matches all images below.
    pub(crate) fn rest_of<'a>(&self, image: &'a ImageReference) -> Option<&'a str> {
        if !self.below || !self.domain.eq_ignore_ascii_case(image.domain()) {
            return None;
        }
        match self.path.as_str() {
            "" => Some(image.path()),
            path => image.path().strip_prefix(path)?.strip_prefix('/'),
        }
    }

    /// Returns host and path without `/*`.
    pub(crate) fn text(&self) -> String {
        match self.path.as_str() {
            "" => self.domain.clone(),
            path => [&self.domain, "/", path].concat(),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns how near an image is: by its last segment, then by its registry and path.
    fn nearness(&self, image: &ImageReference) -> usize {
        let last = |path: &'_ str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let (own, other) = (last(&self.path), last(image.path()));
        let shared = own
            .bytes()
            .zip(other.bytes())
            .take_while(|(left, right)| left == right)
            .count();
        let same_name = usize::from(own == other && !own.is_empty()) * 1_000;
        let same_host = usize::from(self.domain.eq_ignore_ascii_case(image.domain())) * 5;
        let segments = self.path.split('/').zip(image.path().split('/'));
        same_name + shared * 10 + same_host + segments.take_while(|(left, right)| left == right).count() * 5
    }

    pub(crate) fn matches_one(&self) -> bool {
        !self.below
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text())?;
        formatter.write_str(if self.below { "/*" } else { "" })
    }
}

/// Number of images that a message lists at most; of more, it names the nearest.
const MAX_LISTED: usize = 3;
const NEAREST: usize = 2;

/// Returns the allowed images for a message: all if they are few, else the nearest ones to an image.
pub(crate) fn list<'a>(
    title: &str,
    patterns: impl IntoIterator<Item = &'a ImagePattern>,
    image: &ImageReference,
) -> String {
    let mut patterns: Vec<&ImagePattern> = patterns.into_iter().collect();
    let count = patterns.len();
    if count == 0 {
        return format!("{title}: none");
    }
    if count > MAX_LISTED {
        // Equally near ones stay in the policy's order.
        patterns.sort_by_cached_key(|pattern| std::cmp::Reverse(pattern.nearness(image)));
        patterns.truncate(NEAREST);
    }
    let shown: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    match count > MAX_LISTED {
        true => format!("{title} ({count}), the nearest: {}", shown.join(", ")),
        false => format!("{title}: {}", shown.join(", ")),
    }
}

/// Returns the registries with their organisations and tiers.
pub(super) fn allowed_registries(registries: &[super::Registry]) -> String {
    let shown = registries.iter().map(|each| {
        let organisations = match each.organisations.as_slice() {
            [] => String::new(),
            names => names
                .iter()
                .map(|name| format!("/{name}/*"))
                .collect::<Vec<_>>()
                .join(", "),
        };
        format!("{}{organisations} ({})", each.domain, each.tier)
    });
    format!("allowed registries: {}", shown.collect::<Vec<_>>().join(", "))
}

/// Dot-separated numbers, compared number by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(Vec<u64>);

impl Version {
    /// Splits the numbers at the start of a tag from the rest: `1.25.3-9` into 1.25.3 and `-9`.
    pub(crate) fn leading(tag: &str) -> Option<(Version, &str)> {
        let mut numbers = Vec::new();
        let mut rest = tag;
        loop {
            let length = rest
                .find(|next: char| !next.is_ascii_digit())
                .unwrap_or(rest.len());
            numbers.push(rest[..length].parse().ok()?);
            rest = &rest[length..];
            match rest
                .strip_prefix('.')
                .filter(|after| after.starts_with(|next: char| next.is_ascii_digit()))
            {
                Some(after) => rest = after,
                None => return Some((Version(numbers), rest)),
            }
        }
    }

    pub(crate) fn numbers(&self) -> &[u64] {
        &self.0
    }

    /// Returns the first two numbers.
    pub(crate) fn minor(&self) -> Option<String> {
        match self.0.as_slice() {
            [major, minor, ..] => Some(format!("{major}.{minor}")),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(u64::to_string).collect();
        formatter.write_str(&numbers.join("."))
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match Version::leading(&text) {
            Some((version, "")) => Ok(version),
            _ => Err(serde::de::Error::custom(format!(
                "invalid version {text:?}: write numbers separated by dots, as in 1.20"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, image: &str) -> bool {
        ImagePattern::parse(pattern)
            .unwrap()
            .matches(&image.parse().unwrap())
    }

    #[test]
    fn pattern_matches_whole_segments() {
        assert!(covers("quay.io/jordigilh/*", "quay.io/jordigilh/x:1"));
        assert!(covers("quay.io/jordigilh/*", "QUAY.IO/jordigilh/x/y"));
        assert!(!covers("quay.io/jordigilh/*", "quay.io/jordigilh-evil/x:1"));
        assert!(!covers("quay.io/jordigilh/*", "quay.io/jordigilh:1"));
        assert!(!covers("quay.io/a/b", "quay.io/a/b/c"));
        assert!(!covers(
            "registry.access.redhat.com/*",
            "registry.access.redhat.com.evil.example/ubi9/ubi"
        ));
        assert!(!covers(
            "registry.access.redhat.com/*",
            "registry.access.redhat.com:8443/ubi9/ubi"
        ));
    }

    #[test]
    fn lists_few_images_and_the_nearest_of_many() {
        let parse = |texts: &[&str]| -> Vec<ImagePattern> {
            texts
                .iter()
                .map(|text| ImagePattern::parse(text).unwrap())
                .collect()
        };
        let image = "docker.io/library/postgres:16".parse().unwrap();
        assert_eq!(list("allowed", &[], &image), "allowed: none");
        let few = parse(&["quay.io/a/x", "quay.io/b/*"]);
        assert_eq!(list("allowed", &few, &image), "allowed: quay.io/a/x, quay.io/b/*");
        let many = parse(&[
            "quay.io/a/x",
            "quay.io/b/*",
            "quay.io/c/postgresql",
            "quay.io/d/postgres",
            "docker.io/e/y",
        ]);
        let expected = "allowed (5), the nearest: quay.io/d/postgres, quay.io/c/postgresql";
        assert_eq!(list("allowed", &many, &image), expected);
    }

    #[test]
    fn rejects_pattern_without_registry() {
        for wrong in [
            "alpine",
            "library/alpine",
            "docker.io",
            "docker.io/Alpine",
            "docker.io/a:1",
        ] {
            assert!(ImagePattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn compares_versions_by_number() {
        let version = |text: &str| Version::leading(text).unwrap().0;
        assert!(version("10.2") > version("2"));
        assert!(version("1.20") <= version("1.20.1"));
        assert_eq!(
            Version::leading("1.25.3-9.alpine"),
            Some((Version(vec![1, 25, 3]), "-9.alpine"))
        );
        assert_eq!(Version::leading("latest"), None);
        assert_eq!(version("1.24.6").minor().as_deref(), Some("1.24"));
    }
}
