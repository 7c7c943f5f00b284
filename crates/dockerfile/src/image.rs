//! Image references by the grammar that registries and their clients share.
//!
//! ```text
//! reference = name [":" tag] ["@" digest]      name = [domain "/"] path
//! domain    = host [":" port]                  path = component {"/" component}
//! ```
//! A first component is a domain if it is `localhost`, or contains `.`, `:` or an upper-case letter; without one the
//! domain is `docker.io`, and there a path of one component is in `library/`.

use std::cmp::Ordering;
use std::fmt;

const DEFAULT_DOMAIN: &str = "docker.io";
const DEFAULT_FOLDER: &str = "library/";
const LEGACY_DOMAIN: &str = "index.docker.io";
const LONGEST_PATH: usize = 255;
const LONGEST_TAG: usize = 128;

/// A valid image reference in its full form.
///
/// ```
/// let image: dockerfile::ImageReference = "alpine".parse().unwrap();
/// assert_eq!((image.domain(), image.path(), image.tag()), ("docker.io", "library/alpine", None));
/// assert_eq!(image.to_string(), "docker.io/library/alpine:latest");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// Domain, path, and the written tag and digest, in one string.
    text: String,
    domain_end: usize,
    path_end: usize,
    /// The end of the path if there is no tag.
    tag_end: usize,
}

impl ImageReference {
    /// Registry host with its port, as written (hosts are case-insensitive; compare them so).
    pub fn domain(&self) -> &str {
        &self.text[..self.domain_end]
    }

    /// Repository without the registry: `library/alpine`.
    pub fn path(&self) -> &str {
        match self.domain_end {
            0 => self.repository(),
            end => &self.text[end + 1..self.path_end],
        }
    }

    /// Tag, if written.
    pub fn tag(&self) -> Option<&str> {
        self.text[self.path_end..self.tag_end].strip_prefix(':')
    }

    /// Digest with its algorithm, if written: `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        self.text[self.tag_end..].strip_prefix('@')
    }

    /// Domain and path: `docker.io/library/alpine`.
    pub fn repository(&self) -> &str {
        &self.text[..self.path_end]
    }

    fn parts(&self) -> (&str, &str, Option<&str>, Option<&str>) {
        (self.domain(), self.path(), self.tag(), self.digest())
    }
}

impl Ord for ImageReference {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for ImageReference {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The full form; `:latest` without tag and digest, which is what clients pull.
impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)?;
        match self.path_end == self.text.len() {
            true => formatter.write_str(":latest"),
            false => Ok(()),
        }
    }
}

/// Why a text is not an image reference. The messages are those of the clients, so that they can be searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceError {
    /// It does not match the grammar.
    Format,
    /// The repository (given) has upper-case letters.
    Uppercase(String),
    /// The whole reference would match the grammar in lower case.
    NameUppercase,
    /// 64 hexadecimal digits (given) are an image id, not a name.
    Identifier(String),
    /// A repository of more than 255 characters.
    TooLong,
    /// A digest that does not match its algorithm.
    DigestFormat,
    /// A digest of the wrong length for its algorithm.
    DigestLength,
    /// A digest algorithm unknown to clients.
    DigestAlgorithm,
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => formatter.write_str("invalid reference format"),
            Self::Uppercase(name) => {
                write!(
                    formatter,
                    "invalid reference format: repository name ({name}) must be lowercase"
                )
            }
            Self::NameUppercase => formatter.write_str("repository name must be lowercase"),
            Self::Identifier(name) => {
                write!(
                    formatter,
                    "invalid repository name ({name}), cannot specify 64-byte hexadecimal strings"
                )
            }
            Self::TooLong => {
                write!(
                    formatter,
                    "repository name must not be more than {LONGEST_PATH} characters"
                )
            }
            Self::DigestFormat => formatter.write_str("invalid checksum digest format"),
            Self::DigestLength => formatter.write_str("invalid checksum digest length"),
            Self::DigestAlgorithm => formatter.write_str("unsupported digest algorithm"),
        }
    }
}

impl std::error::Error for ReferenceError {}

impl std::str::FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        let (domain, folder, rest) = split_domain(text);
        // Up to the colon, including the implied `library/`, which is in lower case.
        let name = rest.split(':').next().unwrap_or_default();
        if !is_lowercase(name) {
            return Err(ReferenceError::Uppercase(format!("{folder}{name}")));
        }
        let mut full = String::with_capacity(domain.len() + 1 + folder.len() + rest.len());
        for part in [domain, "/", folder, rest] {
            full.push_str(part);
        }
        match split(&full) {
            Some(parts) => {
                let [domain_end, path_end, tag_end] = parts.check()?;
                Ok(ImageReference {
                    text: full,
                    domain_end,
                    path_end,
                    tag_end,
                })
            }
            None if split(&full.to_lowercase()).is_some() => Err(ReferenceError::NameUppercase),
            None => Err(ReferenceError::Format),
        }
    }
}

fn is_lowercase(text: &str) -> bool {
    match text.is_ascii() {
        true => !text.bytes().any(|byte| byte.is_ascii_uppercase()),
        false => text.to_lowercase() == text,
    }
}

/// The domain, the implied folder of a path of one component, and the rest.
fn split_domain(text: &str) -> (&str, &'static str, &str) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_DOMAIN, DEFAULT_FOLDER, text);
    };
    let is_domain = first == "localhost" || first.contains(['.', ':']) || !is_lowercase(first);
    let (domain, rest) = match first {
        LEGACY_DOMAIN => (DEFAULT_DOMAIN, rest),
        first if is_domain => (first, rest),
        _ => (DEFAULT_DOMAIN, text),
    };
    match domain == DEFAULT_DOMAIN && !rest.contains('/') {
        true => (domain, DEFAULT_FOLDER, rest),
        false => (domain, "", rest),
    }
}

/// The pieces of a text that matches the grammar, before further checks.
struct Parts<'a> {
    domain: &'a str,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

fn split(text: &str) -> Option<Parts<'_>> {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    // A port precedes the last slash, so a colon after it begins the tag.
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name[last..].split_once(':') {
        Some((_, tag)) => (&name[..name.len() - tag.len() - 1], Some(tag)),
        None => (name, None),
    };
    let (domain, path) = match name.split_once('/') {
        Some((domain, path)) if is_domain(domain) && is_path(path) => (domain, path),
        _ if is_path(name) => ("", name),
        _ => return None,
    };
    (tag.is_none_or(is_tag) && digest.is_none_or(is_digest)).then_some(Parts {
        domain,
        path,
        tag,
        digest,
    })
}

impl Parts<'_> {
    /// The ends of domain, path and tag in the text.
    fn check(self) -> Result<[usize; 3], ReferenceError> {
        let Parts {
            domain,
            path,
            tag,
            digest,
        } = self;
        if path.len() > LONGEST_PATH {
            return Err(ReferenceError::TooLong);
        }
        if let Some(digest) = digest {
            check_digest(digest)?;
        }
        let slash = usize::from(!domain.is_empty());
        let path_end = domain.len() + slash + path.len();
        let tag_end = path_end + tag.map_or(0, |tag| 1 + tag.len());
        Ok([domain.len(), path_end, tag_end])
    }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_domain(text: &str) -> bool {
    let host = match text.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => text,
    };
    // The port is greedy but optional: `[::1]` ends in digits that belong to the address.
    is_host(host) || is_host(text)
}

fn is_host(text: &str) -> bool {
    if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return !inside.is_empty()
            && inside
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b':');
    }
    text.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

fn is_path(text: &str) -> bool {
    text.split('/').all(is_component)
}

/// Lower-case letters and digits, with one `.`, one or two `_`, or any count of `-` between them.
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !is_word(first) || !is_word(last) {
        return false;
    }
    let mut rest = bytes;
    while let Some(start) = rest.iter().position(|&byte| !is_word(byte)) {
        let length = rest[start..].iter().position(|&byte| is_word(byte));
        // The last byte belongs to a word, so there is one.
        let (separator, after) = rest[start..].split_at(length.unwrap_or(rest.len() - start));
        if !(matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|&byte| byte == b'-')) {
            return false;
        }
        rest = after;
    }
    true
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= LONGEST_TAG
        && text.bytes().next().is_some_and(is_word)
        && text
            .bytes()
            .all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, encoded)) = text.split_once(':') else {
        return false;
    };
    let is_component = |part: &str| {
        part.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(is_component)
        && encoded.len() >= 32
        && encoded.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn check_digest(text: &str) -> Result<(), ReferenceError> {
    let Some((algorithm, encoded)) = text.split_once(':') else {
        return Err(ReferenceError::DigestFormat);
    };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        other if other.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            return Err(ReferenceError::DigestFormat);
        }
        _ => return Err(ReferenceError::DigestAlgorithm),
    };
    match encoded.len() == length {
        false => Err(ReferenceError::DigestLength),
        true if encoded.bytes().all(is_lower_hex) => Ok(()),
        true => Err(ReferenceError::DigestFormat),
    }
}
