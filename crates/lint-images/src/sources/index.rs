//! Git: files staged in the index, and files that git tracks.

use std::collections::BTreeMap;
use std::path::Path;
use std::process;
use std::time::Duration;

use anyhow::Context;
use subprocess::{Cancel, Command};

/// Entries of the index: the object of each file by its path. Links and submodules are left out: their content is the
/// path of a target, or a commit.
#[derive(Debug, Default)]
pub(crate) struct Index {
    objects: BTreeMap<String, String>,
}

impl Index {
    /// Lists the index of the repository at `root`.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Index> {
        let listed = git(root, &["ls-files", "--stage", "-z"], None)?;
        let entries = split(&listed).filter_map(|entry| {
            let (head, path) = entry.split_once('\t')?;
            let mut words = head.split(' ');
            let (mode, object, stage) = (words.next()?, words.next()?, words.next()?);
            (is_file(mode) && stage == "0").then(|| (path.to_owned(), object.to_owned()))
        });
        Ok(Index {
            objects: entries.collect(),
        })
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.objects.keys().map(String::as_str)
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        self.objects.contains_key(path)
    }

    /// Returns the contents of files, in their order; absent files are left out.
    pub(crate) fn contents<'a>(
        &self,
        root: &Path,
        paths: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<Vec<(&'a str, Vec<u8>)>> {
        let found: Vec<(&str, &str)> = paths
            .into_iter()
            .filter_map(|path| Some((path, self.objects.get(path)?.as_str())))
            .collect();
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let objects: String = found.iter().map(|(_, object)| format!("{object}\n")).collect();
        let output = git(root, &["cat-file", "--batch"], Some(objects))?;
        let blobs = blobs(&output).context("unexpected output of git cat-file --batch")?;
        let pairs = found.into_iter().zip(blobs);
        Ok(pairs
            .filter_map(|((path, _), blob)| Some((path, blob?)))
            .collect())
    }
}

/// Returns the paths whose content in the index differs from the last commit, without deleted ones.
pub(crate) fn staged_paths(root: &Path) -> anyhow::Result<Vec<String>> {
    let arguments = [
        "diff",
        "--cached",
        "--raw",
        "--no-renames",
        "--no-abbrev",
        "--diff-filter=ACMT",
        "-z",
    ];
    let listed = git(root, &arguments, None)?;
    let fields: Vec<String> = split(&listed).collect();
    let changes = fields.chunks_exact(2).filter_map(|pair| {
        let mode = pair[0].strip_prefix(':')?.split(' ').nth(1)?;
        is_file(mode).then(|| pair[1].clone())
    });
    Ok(changes.collect())
}

/// Returns all tracked files. `None` if the folder is in no repository, or git is not available.
pub(super) fn tracked(root: &Path) -> Option<Vec<String>> {
    let index = Index::read(root).ok()?;
    Some(index.objects.into_keys().collect())
}

/// Returns whether a mode is that of a regular file, rather than of a link or a submodule.
fn is_file(mode: &str) -> bool {
    mode.starts_with("100")
}

fn split(listed: &[u8]) -> impl Iterator<Item = String> {
    listed
        .split(|byte| *byte == 0)
        .filter(|entry| !entry.is_empty())
        .map(|entry| String::from_utf8_lossy(entry).into_owned())
}

/// Splits the output of `git cat-file --batch`: `ID TYPE SIZE`, the bytes, a line feed; or `ID missing`.
fn blobs(output: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let mut rest = output;
    let mut blobs = Vec::new();
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest)?;
        let header = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 1..];
        let mut words = header.rsplit(' ');
        let last = words.next()?;
        if last == "missing" {
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

fn git(folder: &Path, arguments: &[&str], input: Option<String>) -> anyhow::Result<Vec<u8>> {
    let mut command = process::Command::new("git");
    command.args(arguments).current_dir(folder);
    let mut command = Command::new(command).deadline(Duration::from_secs(60));
    if let Some(input) = input {
        command = command.input(input);
    }
    Ok(command.capture(&Cancel::never())?.stdout)
}
