//! Selection of files: the tree as git sees it, files named as arguments, or staged files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use ignore::{DirEntry, WalkBuilder, WalkState};
use rayon::prelude::*;
use subprocess::{Cancel, Command};

use super::{FileFormat, format_of, relative};
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
            let mut files = below(root, "", policy, read);
            files.sort_by(|left, right| left.path.cmp(&right.path));
            files
        }
        Inputs::Listed(inputs) => inputs
            .into_par_iter()
            .map_init(Vec::new, |buffer, input| read(input, buffer))
            .collect(),
    }
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
        // Git reads .gitignore only; search tools read .ignore.
        .ignore(false)
        .filter_entry(|entry| entry.file_name() != ".git")
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

fn input_of(entry: DirEntry, folder: &Path, prefix: &str, policy: &Policy) -> Option<Input> {
    if !entry.file_type().is_some_and(|kind| kind.is_file()) {
        return None;
    }
    let path = entry.path();
    let below = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
    let mut shown = [prefix, &below].concat();
    if below.contains('\\') {
        shown.replace_range(prefix.len().., &below.replace('\\', "/"));
    }
    let form = format_of(&shown, policy)?;
    (!policy.excluded.is_match(&shown)).then(|| Input {
        path: shown,
        form,
        content: Content::Path(entry.into_path()),
    })
}

/// Returns the files named as arguments, and the files below folders. A named file is read even if it is excluded; it
/// is read as a Dockerfile if its name has no known form.
pub(crate) fn from_arguments(files: &[PathBuf], root: &Path, policy: &Policy) -> Vec<Input> {
    let mut inputs = Vec::new();
    for path in files {
        if path.is_dir() {
            let prefix = match relative(path, root).as_str() {
                "" | "." => String::new(),
                shown => format!("{}/", shown.trim_end_matches('/')),
            };
            let mut found = below(path, &prefix, policy, |input, _| input);
            found.sort_by(|left, right| left.path.cmp(&right.path));
            inputs.extend(found);
            continue;
        }
        let shown = relative(path, root);
        let form = format_of(&shown, policy).unwrap_or(FileFormat::Dockerfile);
        inputs.push(Input {
            path: shown,
            form,
            content: Content::Path(path.clone()),
        });
    }
    inputs
}

/// Returns the staged files with their content in the index, without deleted ones.
pub(crate) fn from_index(root: &Path, policy: &Policy) -> anyhow::Result<Vec<Input>> {
    let listed = git(
        root,
        &[
            "diff",
            "--cached",
            "--name-only",
            "--no-renames",
            "--diff-filter=ACMT",
            "-z",
        ],
        None,
    )?;
    let paths: Vec<(String, FileFormat)> = listed
        .split(|byte| *byte == 0)
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter_map(|path| format_of(&path, policy).map(|form| (path, form)))
        .filter(|(path, _)| !policy.excluded.is_match(path))
        .collect();
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let objects: String = paths.iter().map(|(path, _)| format!(":{path}\n")).collect();
    if let Some((path, _)) = paths.iter().find(|(path, _)| path.contains('\n')) {
        bail!("line feed in the name of the staged file {path:?}: rename it");
    }
    let output = git(root, &["cat-file", "--batch"], Some(objects))?;
    let blobs = blobs(&output).context("unexpected output of git cat-file --batch")?;
    Ok(paths
        .into_iter()
        .zip(blobs)
        // A submodule is not a blob.
        .filter_map(|((path, form), blob)| {
            Some(Input {
                path,
                form,
                content: Content::Bytes(blob?),
            })
        })
        .collect())
}

/// Splits the output of `git cat-file --batch`: `ID TYPE SIZE`, the bytes, a line feed; or `NAME missing`.
fn blobs(output: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let mut rest = output;
    let mut blobs = Vec::new();
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest)?;
        let header = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 1..];
        let mut words = header.rsplit(' ');
        let last = words.next()?;
        if last == "missing" || last == "ambiguous" {
            blobs.push(None);
            continue;
        }
        let size: usize = last.parse().ok()?;
        let is_blob = words.next()? == "blob";
        let bytes = rest.get(..size)?;
        blobs.push(is_blob.then(|| bytes.to_vec()));
        rest = rest.get(size + 1..)?;
    }
    Some(blobs)
}

pub(crate) fn git(folder: &Path, arguments: &[&str], input: Option<String>) -> anyhow::Result<Vec<u8>> {
    let mut command = process::Command::new("git");
    command.args(arguments).current_dir(folder);
    let mut command = Command::new(command).deadline(Duration::from_secs(60));
    if let Some(input) = input {
        command = command.input(input);
    }
    Ok(command.capture(&Cancel::never())?.stdout)
}
