//! Input: files and the images that they refer to.

mod bake;
mod discover;
mod dockerfiles;
mod index;
mod names;
mod stack;
mod yaml;

#[cfg(test)]
pub(crate) use discover::Content;
pub(crate) use discover::{Input, Inputs, from_arguments, from_index, read_all};
pub(crate) use index::{Index, staged_paths};
pub(crate) use names::{FileFormat, format_of};
pub(crate) use yaml::ResourceEntry;

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::model::{Allowance, File, Location, Skipped};
use crate::policy::Policy;

/// Path of stdin in messages.
pub(crate) const STDIN: &str = "<stdin>";

/// Where files beside the checked ones are read: the policy, `.env` of compose files, Dockerfiles that they name.
#[derive(Debug)]
pub(crate) enum Store<'a> {
    WorkTree(&'a Path),
    Index(&'a Path, Index),
}

impl Store<'_> {
    /// Returns the root of the repository.
    pub(crate) fn root(&self) -> &Path {
        match self {
            Store::WorkTree(root) | Store::Index(root, _) => root,
        }
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        match self {
            Store::WorkTree(root) => root.join(path).is_file(),
            Store::Index(_, index) => index.contains(path),
        }
    }

    /// Reads a file by its path relative to the root.
    pub(crate) fn read(&self, path: &str) -> io::Result<String> {
        match self {
            Store::WorkTree(root) => std::fs::read_to_string(root.join(path)),
            Store::Index(root, index) => {
                let found = index.contents(root, [path]).map_err(io::Error::other)?.pop();
                let (_, bytes) =
                    found.ok_or_else(|| io::Error::other("not in the index: add it with git add"))?;
                String::from_utf8(bytes).map_err(io::Error::other)
            }
        }
    }

    /// Reads a file that may be outside the root. `shown` is its path relative to the root.
    pub(crate) fn read_named(&self, path: &Path, shown: &str) -> io::Result<String> {
        match self {
            Store::WorkTree(_) => std::fs::read_to_string(path),
            Store::Index(..) => self.read(shown),
        }
    }
}

/// Returns a path relative to the repository root with forward slashes; a path outside is returned as it is.
pub(crate) fn relative(path: &Path, root: &Path) -> String {
    let shown = match (path.canonicalize(), root.canonicalize()) {
        (Ok(path), Ok(root)) => path.strip_prefix(&root).map(Path::to_path_buf).ok(),
        _ => path.strip_prefix(root).map(Path::to_path_buf).ok(),
    };
    let text = shown.as_deref().unwrap_or(path).to_string_lossy().into_owned();
    // Elsewhere a backslash is a character of a name.
    let text = if cfg!(windows) {
        text.replace('\\', "/")
    } else {
        text
    };
    text.strip_prefix("./").unwrap_or(&text).to_owned()
}

/// Resolves a path relative to a file's folder.
pub(crate) fn beside(file: &str, path: &str) -> String {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Reads one input through a buffer. Returns the text separately, since the file need not keep it.
pub(crate) fn read<'a>(
    input: Input,
    policy: &Policy,
    store: &Store<'_>,
    buffer: &'a mut Vec<u8>,
) -> (File, Cow<'a, str>) {
    let Input { path, form, content } = input;
    let mut file = File {
        path,
        ..File::default()
    };
    let bytes = match content.read(buffer) {
        Ok(length) => &buffer[..length],
        Err(error) => return unreadable(file, format!("cannot read the file: {error}")),
    };
    let is_required = !matches!(form, FileFormat::Json | FileFormat::Bake);
    if let Some(reason) = other_encoding(bytes).filter(|_| is_required) {
        return unreadable(file, reason.to_owned());
    }
    let (text, first_bad) = match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(error) => (String::from_utf8_lossy(bytes), Some(error.valid_up_to())),
    };
    match (form, first_bad) {
        (FileFormat::PossibleDockerfile, _) if !names::begins_as_dockerfile(&text) => {}
        (FileFormat::Dockerfile | FileFormat::PossibleDockerfile, bad) => {
            dockerfiles::read(&mut file, &text, policy, bad)
        }
        (FileFormat::Json | FileFormat::Bake, Some(_)) => {}
        (_, Some(_)) => return unreadable(file, "not UTF-8".to_owned()),
        (FileFormat::Yaml, None) => yaml::read(&mut file, &text, policy, store),
        (FileFormat::Json, None) if !has_resources(&text) => {}
        (FileFormat::Json, None) => yaml::read(&mut file, &text, policy, store),
        (FileFormat::Bake, None) => bake::read(&mut file, &text),
        (FileFormat::Stack, None) => stack::read(&mut file, &text, policy),
    }
    (file, text)
}

/// Returns whether JSON has Kubernetes resources.
fn has_resources(text: &str) -> bool {
    let has = |key: &str| memchr::memmem::find(text.as_bytes(), key.as_bytes()).is_some();
    has("\"apiVersion\"") && has("\"kind\"") && has("mage\"")
}

fn unreadable<'a>(mut file: File, reason: String) -> (File, Cow<'a, str>) {
    file.skipped.push(Skipped {
        line: None,
        reason,
        unreadable: true,
    });
    (file, Cow::Borrowed(""))
}

/// Returns why the bytes are not UTF-8 text. A few NUL bytes are accepted: no valid name contains them.
fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    let start = &bytes[..bytes.len().min(8_000)];
    let nuls = memchr::memchr_iter(0, start).count();
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16: save the file as UTF-8"),
        _ if nuls * 4 > start.len() => Some("more than a quarter NUL bytes: UTF-16 or a binary file"),
        _ => None,
    }
}

/// Start of an exception in a comment.
const MARK: &str = "lint-images: allow ";

/// Returns the exceptions in comments. Each applies to its own line, or to the next line that is not a comment.
pub(crate) fn allowances(text: &str) -> Vec<Allowance> {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));
    if FINDER.find(text.as_bytes()).is_none() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut offset = 0;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (index, line) in lines.iter().enumerate() {
        if let Some(at) = line.find(MARK).filter(|at| line[..*at].trim_end().ends_with('#')) {
            let rest = line[at + MARK.len()..].trim();
            let (rule, reason) = rest.split_once(':').unwrap_or((rest, ""));
            let own_line = line.trim_start().starts_with('#');
            let next = lines[index + 1..]
                .iter()
                .position(|next| !next.trim_start().starts_with('#'));
            let target = if own_line {
                index + 1 + next.unwrap_or(0) + 1
            } else {
                index + 1
            };
            let span = offset + at..offset + at + MARK.len() + rest.len();
            let column = line[..at].chars().count() + 1;
            let location = Location {
                line: index + 1,
                column,
                span,
            };
            found.push(Allowance {
                location,
                target,
                rule: rule.trim().to_owned(),
                reason: reason.trim().to_owned(),
            });
        }
        offset += line.len();
    }
    found
}
