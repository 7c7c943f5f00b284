//! Content hashes: what images and configurations are told apart by.

use std::{fs, path::Path};

use anyhow::Context;
use sha2::{Digest, Sha256};

/// Hex digits that are kept: 48 bits, far past chance on one machine and short enough to read.
const DIGITS: usize = 12;

/// The short hash of a text.
pub(crate) fn short(bytes: &[u8]) -> String {
    shortened(Sha256::new().chain_update(bytes))
}

/// The short hash of files and texts together; each part's length is part of it.
pub(crate) fn short_of(files: &[&Path], texts: &[&str]) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for file in files {
        let content = fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(&content);
    }
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    Ok(shortened(hash))
}

fn shortened(hash: Sha256) -> String {
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.chars().take(DIGITS).collect()
}
