//! Index of unfinished runs of all checkouts, in the user's cache.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{Owner, paths_in};

/// An unfinished run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Folder of the run, which may no longer exist.
    pub(crate) folder: PathBuf,
    /// Owner at the last write.
    #[serde(flatten)]
    pub(crate) owner: Owner,
}

/// Returns the unfinished runs of all checkouts of this user, by id.
pub(crate) fn indexed(index: &Path) -> BTreeMap<String, Entry> {
    paths_in(index)
        .filter_map(|path| {
            let text = fs::read(path).ok()?;
            let entry: Entry = serde_json::from_slice(&text).ok()?;
            Some((entry.owner.run.clone(), entry))
        })
        .collect()
}

/// Removes a run from the index.
pub(crate) fn forget(index: &Path, run: &str) -> anyhow::Result<()> {
    let path = entry_path(index, run);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

pub(super) fn entry_path(index: &Path, run: &str) -> PathBuf {
    index.join(format!("{run}.json"))
}
