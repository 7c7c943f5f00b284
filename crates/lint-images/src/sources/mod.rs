//! Input: files and the images that they refer to.

mod discover;
mod dockerfiles;
mod stack;
mod yaml;

#[cfg(test)]
pub(crate) use discover::Content;
pub(crate) use discover::{Input, Inputs, from_arguments, from_index, read_all};

use std::borrow::Cow;
use std::path::Path;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::model::{Allowance, File, Location, Skipped};
use crate::policy::Policy;

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFormat {
    Dockerfile,
    Yaml,
    Stack,
}

/// Returns the format of a file by its path; `None` if it refers to no images.
pub(crate) fn format_of(path: &str, policy: &Policy) -> Option<FileFormat> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if policy.stacks.iter().any(|stack| stack.file == path)
        || (policy.stacks.is_empty() && name == "stack.toml")
    {
        return Some(FileFormat::Stack);
    }
    if name == "Dockerfile" {
        return Some(FileFormat::Dockerfile);
    }
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".yaml") || lower.ends_with(".yml") {
        return Some(FileFormat::Yaml);
    }
    // `Dockerfile.dockerignore` is the ignore file of a Dockerfile.
    let is_dockerfile = lower.ends_with(".dockerfile")
        || lower.ends_with(".containerfile")
        || (lower.starts_with("dockerfile.") && !lower.ends_with("ignore") && !is_source(&lower))
        || (name.starts_with("Containerfile") && !lower.ends_with("ignore") && !is_source(&lower));
    is_dockerfile.then_some(FileFormat::Dockerfile)
}

/// Returns whether the file is source code or text about Dockerfiles, such as `dockerfile.rs`.
fn is_source(name: &str) -> bool {
    const EXTENSIONS: [&str; 14] = [
        "rs", "go", "py", "js", "ts", "java", "rb", "md", "txt", "json", "html", "sh", "toml", "lock",
    ];
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| EXTENSIONS.contains(&extension))
}

/// Returns a path relative to the repository root with forward slashes; a path outside is returned as it is.
pub(crate) fn relative(path: &Path, root: &Path) -> String {
    let shown = match (path.canonicalize(), root.canonicalize()) {
        (Ok(path), Ok(root)) => path.strip_prefix(&root).map(Path::to_path_buf).ok(),
        _ => path.strip_prefix(root).map(Path::to_path_buf).ok(),
    };
    let text = shown
        .as_deref()
        .unwrap_or(path)
        .to_string_lossy()
        .replace('\\', "/");
    text.strip_prefix("./").unwrap_or(&text).to_owned()
}

/// Reads one input through a buffer. Returns the text separately, since the file need not keep it.
pub(crate) fn read<'a>(input: Input, policy: &Policy, buffer: &'a mut Vec<u8>) -> (File, Cow<'a, str>) {
    let Input { path, form, content } = input;
    let mut file = File {
        path,
        ..File::default()
    };
    let bytes = match content.read(buffer) {
        Ok(length) => &buffer[..length],
        Err(error) => return unreadable(file, format!("cannot read the file: {error}")),
    };
    if let Some(reason) = other_encoding(bytes) {
        return unreadable(file, reason.to_owned());
    }
    let (text, first_bad) = match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(error) => (String::from_utf8_lossy(bytes), Some(error.valid_up_to())),
    };
    match (form, first_bad) {
        (FileFormat::Dockerfile, bad) => dockerfiles::read(&mut file, &text, policy, bad),
        (_, Some(_)) => return unreadable(file, "not UTF-8".to_owned()),
        (FileFormat::Yaml, None) => yaml::read(&mut file, &text),
        (FileFormat::Stack, None) => stack::read(&mut file, &text, policy),
    }
    (file, text)
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
