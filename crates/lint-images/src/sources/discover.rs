//! Selection of files: the tree as git sees it, files named as arguments, or staged files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use ignore::{DirEntry, WalkBuilder, WalkState};
use rayon::prelude::*;

use super::index::{self, Index, staged_paths};
use super::{FileFormat, STDIN, format_of, relative};
use crate::model;
use crate::policy::Policy;

/// File to read.
#[derive(Debug)]
pub(crate) struct Input {
    /// Path relative to the repository root, with forward slashes.
    pub(crate) path: String,
    pub(crate) form: FileFormat,
    pub(crate) content: Content,
}

/// Source of a file's bytes.
#[derive(Debug)]
pub(crate) enum Content {
    Path(PathBuf),
    Bytes(Vec<u8>),
}

impl Content {
    /// Reads the bytes to the start of the buffer and returns their number. The buffer is reused and only grows, which
    /// saves a system call for the length of each file.
    pub(super) fn read(self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Content::Path(path) => fill(buffer, &mut File::open(path)?),
            Content::Bytes(bytes) => {
                *buffer = bytes;
                Ok(buffer.len())
            }
        }
    }
}

/// Initial size of a buffer; most files are smaller.
const INITIAL_BUFFER: usize = 16 * 1024;

fn fill(buffer: &mut Vec<u8>, file: &mut File) -> io::Result<usize> {
    let mut length = 0;
    loop {
        if length == buffer.len() {
            buffer.resize((length * 2).max(INITIAL_BUFFER), 0);
        }
        match file.read(&mut buffer[length..]) {
            Ok(0) => return Ok(length),
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Selection of files to read.
#[derive(Debug)]
pub(crate) enum Inputs<'a> {
    /// All files of a tree that may refer to images: ignore files are honoured, hidden folders (`.github`) included.
    Tree(&'a Path),
    Listed(Vec<Input>),
}

/// Reads all inputs in parallel, with one buffer per thread. Files of a tree are read while the walk goes on, and
/// returned sorted by path.
pub(crate) fn read_all(
    inputs: Inputs<'_>,
    policy: &Policy,
    read: impl Fn(Input, &mut Vec<u8>) -> model::File + Sync,
) -> Vec<model::File> {
    match inputs {
        Inputs::Tree(root) => {
            let (mut files, ignored) =
                rayon::join(|| below(root, "", policy, &read), || index::tracked(root));
            let seen: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
            let ignored = unseen(ignored.unwrap_or_default(), &seen, root, policy);
            files.extend(read_listed(ignored, &read));
            files.sort_by(|left, right| left.path.cmp(&right.path));
            files
        }
        Inputs::Listed(inputs) => read_listed(inputs, &read),
    }
}

fn read_listed(
    inputs: Vec<Input>,
    read: &(impl Fn(Input, &mut Vec<u8>) -> model::File + Sync),
) -> Vec<model::File> {
    inputs
        .into_par_iter()
        .map_init(Vec::new, |buffer, input| read(input, buffer))
        .collect()
}

/// Returns the tracked files that a walk did not find, because an ignore rule matches them: git ignores untracked files
/// only.
fn unseen(tracked: Vec<String>, seen: &BTreeSet<&str>, root: &Path, policy: &Policy) -> Vec<Input> {
    let candidates = tracked.into_iter().filter(|path| !seen.contains(path.as_str()));
    candidates
        .filter_map(|path| {
            let form = format_of(&path, policy)?;
            let full = root.join(&path);
            // A file that was deleted or replaced by a link is tracked too.
            let is_file = full.symlink_metadata().is_ok_and(|found| found.is_file());
            let content = Content::Path(full);
            (is_file && !policy.excluded.matches(&path)).then_some(Input { path, form, content })
        })
        .collect()
}

/// Calls a function with each file below a folder and returns the results in any order. `prefix` is the folder's path
/// relative to the repository root.
fn below<T: Send>(
    folder: &Path,
    prefix: &str,
    policy: &Policy,
    make: impl Fn(Input, &mut Vec<u8>) -> T + Sync,
) -> Vec<T> {
    let walk = WalkBuilder::new(folder)
        .hidden(false)
        // Git reads .gitignore only, and none above the repository; search tools read .ignore.
        .ignore(false)
        .parents(false)
        .filter_entry(is_of_this_repository)
        .require_git(false)
        .threads(rayon::current_num_threads())
        .build_parallel();
    let made = Mutex::new(Vec::new());
    walk.run(|| {
        let (made, make) = (&made, &make);
        let mut buffer = Vec::new();
        Box::new(move |entry| {
            // Unreadable files are reported when they are read; an unreadable folder contributes no files.
            if let Some(input) = entry
                .ok()
                .and_then(|entry| input_of(entry, folder, prefix, policy))
            {
                let one = make(input, &mut buffer);
                made.lock().unwrap_or_else(PoisonError::into_inner).push(one);
            }
            WalkState::Continue
        })
    });
    made.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Excludes git's own folder, submodules and other repositories within this one.
fn is_of_this_repository(entry: &DirEntry) -> bool {
    let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
    entry.file_name() != ".git" && !(is_folder && entry.depth() > 0 && entry.path().join(".git").exists())
}

fn input_of(entry: DirEntry, folder: &Path, prefix: &str, policy: &Policy) -> Option<Input> {
    if !entry.file_type().is_some_and(|kind| kind.is_file()) {
        return None;
    }
    let path = entry.path();
    let below = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
    let mut shown = [prefix, &below].concat();
    if below.contains('\\') && cfg!(windows) {
        shown.replace_range(prefix.len().., &below.replace('\\', "/"));
    }
    let form = format_of(&shown, policy)?;
    (!policy.excluded.matches(&shown)).then(|| Input {
        path: shown,
        form,
        content: Content::Path(entry.into_path()),
    })
}

/// Returns the files named as arguments, and the files below folders, each once. With `as_tree`, files are left out that
/// a run on the whole tree would not read; otherwise a named file is read even if it is excluded, and as a Dockerfile if
/// its name has no known form.
pub(crate) fn from_arguments(
    files: &[PathBuf],
    root: &Path,
    policy: &Policy,
    as_tree: bool,
) -> anyhow::Result<Vec<Input>> {
    let mut inputs = Vec::new();
    let mut seen = BTreeSet::new();
    for path in files {
        let found = match path.is_dir() {
            _ if path.as_os_str() == "-" => vec![from_stdin()?],
            true => from_folder(path, root, policy),
            false => from_file(path, root, policy, as_tree).into_iter().collect(),
        };
        inputs.extend(found.into_iter().filter(|input| seen.insert(input.path.clone())));
    }
    Ok(inputs)
}

/// Reads rendered manifests from stdin.
fn from_stdin() -> anyhow::Result<Input> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).context("cannot read stdin")?;
    Ok(Input {
        path: STDIN.to_owned(),
        form: FileFormat::Yaml,
        content: Content::Bytes(bytes),
    })
}

fn from_folder(folder: &Path, root: &Path, policy: &Policy) -> Vec<Input> {
    let prefix = match relative(folder, root).as_str() {
        "" | "." => String::new(),
        shown => format!("{}/", shown.trim_end_matches('/')),
    };
    let mut found = match folder.canonicalize().is_ok_and(|folder| folder.starts_with(root)) {
        // Ignore files of the folders above apply too.
        true => {
            let mut found = below(root, "", policy, |input, _| input);
            let seen = found.iter().map(|input| input.path.clone()).collect::<Vec<_>>();
            let seen = seen.iter().map(String::as_str).collect();
            found.extend(unseen(
                index::tracked(root).unwrap_or_default(),
                &seen,
                root,
                policy,
            ));
            found.retain(|input| input.path.starts_with(&prefix));
            found
        }
        false => Vec::new(),
    };
    if found.is_empty() {
        // A folder that is outside the repository, or ignored, and named nevertheless.
        found = below(folder, &prefix, policy, |input, _| input);
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

fn from_file(path: &Path, root: &Path, policy: &Policy, as_tree: bool) -> Option<Input> {
    let shown = relative(path, root);
    let form = format_of(&shown, policy);
    if as_tree && (form.is_none() || policy.excluded.matches(&shown)) {
        return None;
    }
    Some(Input {
        path: shown,
        form: form.unwrap_or(FileFormat::Dockerfile),
        content: Content::Path(path.to_path_buf()),
    })
}

/// Returns the staged files, or with `all` the whole index, with their content in the index.
pub(crate) fn from_index(
    root: &Path,
    index: &Index,
    policy: &Policy,
    all: bool,
) -> anyhow::Result<Vec<Input>> {
    let paths: Vec<String> = match all {
        true => index.paths().map(str::to_owned).collect(),
        false => staged_paths(root)?,
    };
    let paths = paths.iter().map(String::as_str);
    let wanted = paths.filter(|path| format_of(path, policy).is_some() && !policy.excluded.matches(path));
    let contents = index.contents(root, wanted)?;
    let inputs = contents.into_iter().filter_map(|(path, bytes)| {
        Some(Input {
            path: path.to_owned(),
            form: format_of(path, policy)?,
            content: Content::Bytes(bytes),
        })
    });
    Ok(inputs.collect())
}
