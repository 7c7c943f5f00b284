//! What is read: which files, and what images they name.

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

use crate::model::{Allowance, File, NotJudged, Place};
use crate::policy::Policy;

/// What a file is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Dockerfile,
    Yaml,
    Stack,
}

/// What a file's name says of its form. None: it names no images.
pub(crate) fn form_of(path: &str, policy: &Policy) -> Option<Form> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if policy.stacks.iter().any(|stack| stack.file == path)
        || (policy.stacks.is_empty() && name == "stack.toml")
    {
        return Some(Form::Stack);
    }
    if name == "Dockerfile" {
        return Some(Form::Dockerfile);
    }
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".yaml") || lower.ends_with(".yml") {
        return Some(Form::Yaml);
    }
    // `Dockerfile.dockerignore` is an ignore file of a Dockerfile.
    let is_dockerfile = lower.ends_with(".dockerfile")
        || lower.ends_with(".containerfile")
        || (lower.starts_with("dockerfile.") && !lower.ends_with("ignore") && !is_source(&lower))
        || (name.starts_with("Containerfile") && !lower.ends_with("ignore") && !is_source(&lower));
    is_dockerfile.then_some(Form::Dockerfile)
}

/// Source files about Dockerfiles (`dockerfile.rs`) and their documents are no Dockerfiles.
fn is_source(name: &str) -> bool {
    const EXTENSIONS: [&str; 14] = [
        "rs", "go", "py", "js", "ts", "java", "rb", "md", "txt", "json", "html", "sh", "toml", "lock",
    ];
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| EXTENSIONS.contains(&extension))
}

/// A path from the repository's root with forward slashes, or as it is where it is elsewhere.
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

/// Reads one input by way of a buffer. The text is given beside the file, which need not keep it.
pub(crate) fn read<'a>(input: Input, policy: &Policy, buffer: &'a mut Vec<u8>) -> (File, Cow<'a, str>) {
    let Input { path, form, content } = input;
    let mut file = File {
        path,
        ..File::default()
    };
    let bytes = match content.read(buffer) {
        Ok(length) => &buffer[..length],
        Err(error) => return unreadable(file, format!("can't read it: {error}")),
    };
    if let Some(reason) = other_encoding(bytes) {
        return unreadable(file, reason.to_owned());
    }
    let (text, first_bad) = match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(error) => (String::from_utf8_lossy(bytes), Some(error.valid_up_to())),
    };
    match (form, first_bad) {
        (Form::Dockerfile, bad) => dockerfiles::read(&mut file, &text, policy, bad),
        (_, Some(_)) => return unreadable(file, "it is not UTF-8".to_owned()),
        (Form::Yaml, None) => yaml::read(&mut file, &text),
        (Form::Stack, None) => stack::read(&mut file, &text, policy),
    }
    (file, text)
}

fn unreadable<'a>(mut file: File, reason: String) -> (File, Cow<'a, str>) {
    file.not_judged.push(NotJudged {
        line: None,
        reason,
        unreadable: true,
    });
    (file, Cow::Borrowed(""))
}

/// What is text in another encoding, or no text. A stray NUL is a character that no name may have, and no more.
fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    let start = &bytes[..bytes.len().min(8_000)];
    let nuls = memchr::memchr_iter(0, start).count();
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("it is UTF-16: save it as UTF-8"),
        _ if nuls * 4 > start.len() => Some("a quarter of it is NUL bytes: it is UTF-16 or no text at all"),
        _ => None,
    }
}

/// What begins an exception in a comment.
const MARK: &str = "lint-images: allow ";

/// The exceptions in comments: each is about the next line that is no comment, or about its own.
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
            let place = Place {
                line: index + 1,
                column,
                span,
            };
            found.push(Allowance {
                place,
                target,
                rule: rule.trim().to_owned(),
                reason: reason.trim().to_owned(),
            });
        }
        offset += line.len();
    }
    found
}
