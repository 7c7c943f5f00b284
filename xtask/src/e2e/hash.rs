//! Content hashes of images and configurations.

use std::{fs, path::Path};

use anyhow::Context;
use sha2::{Digest, Sha256};

/// Number of hex digits: 48 bits make a collision on one machine improbable, and are short enough to read.
const DIGITS: usize = 12;

/// Returns the short hash of bytes.
pub(crate) fn short(bytes: &[u8]) -> String {
    shortened(Sha256::new().chain_update(bytes))
}

/// Returns the short hash of files and texts together, each with its length.
pub(crate) fn short_of(files: &[impl AsRef<Path>], texts: &[impl AsRef<str>]) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for file in files.iter().map(AsRef::as_ref) {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(&content);
    }
    for text in texts.iter().map(AsRef::as_ref) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    Ok(shortened(hash))
}

fn shortened(hash: Sha256) -> String {
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.chars().take(DIGITS).collect()
}
