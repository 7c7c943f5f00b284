//! The runs in the user's cache: those of all checkouts that are not finished.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::Owner;

/// A run in the user's cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The run's folder, which may be gone.
    pub(crate) folder: PathBuf,
    /// Its owner when this was last written.
    #[serde(flatten)]
    pub(crate) owner: Owner,
}

/// The unfinished runs of all checkouts of this user by their ids.
pub(crate) fn indexed(index: &Path) -> BTreeMap<String, Entry> {
    let files = fs::read_dir(index).into_iter().flatten().flatten();
    files
        .filter_map(|file| {
            let text = fs::read(file.path()).ok()?;
            let entry: Entry = serde_json::from_slice(&text).ok()?;
            Some((entry.owner.run.clone(), entry))
        })
        .collect()
}

/// Removes a run from the user's cache.
pub(crate) fn forget(index: &Path, run: &str) -> anyhow::Result<()> {
    let path = entry_path(index, run);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

pub(super) fn entry_path(index: &Path, run: &str) -> PathBuf {
    index.join(format!("{run}.json"))
}
