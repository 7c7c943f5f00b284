//! Self-contained inclusion proofs of `c2sp.org/tlog-proof`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Error;
use crate::checkpoint::{Checkpoint, decode_hash, decode_number, encode_hash};
use crate::key::VerifierKey;
use crate::merkle::{Hash, verify_inclusion};
use crate::note::Note;

const HEADER: &str = "c2sp.org/tlog-proof@v1\n";
/// Hashes of a proof in the largest tree.
const MAX_HASHES: usize = 63;

/// An inclusion proof with its signed checkpoint: all that a verifier needs beside the leaf and public keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Data of the application. It is not authenticated.
    pub extra: Option<Vec<u8>>,
    /// Index of the leaf.
    pub index: u64,
    /// Hashes from the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: Note,
}

impl Proof {
    /// Verifies that the log has the leaf: checkpoint, cosignatures ([`Checkpoint::open`]) and inclusion.
    pub fn verify(
        &self,
        leaf: &Hash,
        log: &VerifierKey,
        witnesses: &[VerifierKey],
        needed: usize,
    ) -> Result<Checkpoint, Error> {
        let (checkpoint, _) = Checkpoint::open(&self.checkpoint, log, witnesses, needed)?;
        verify_inclusion(leaf, self.index, checkpoint.size, &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes
            .iter()
            .try_for_each(|hash| writeln!(f, "{}", encode_hash(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Proof {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text
            .strip_prefix(HEADER)
            .ok_or(Error::ProofText("unknown header"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(Error::ProofText("no empty line"))?;
        let mut lines = head.split('\n').peekable();
        let extra = lines
            .next_if(|line| line.starts_with("extra "))
            .map(|line| STANDARD.decode(&line[6..]));
        let extra = extra
            .transpose()
            .map_err(|_| Error::ProofText("invalid extra data"))?;
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(decode_number);
        let index = index.ok_or(Error::ProofText("invalid index"))?;
        let hashes: Option<Vec<Hash>> = lines.map(decode_hash).take(MAX_HASHES + 1).collect();
        let hashes = hashes.ok_or(Error::ProofText("invalid hash"))?;
        if hashes.len() > MAX_HASHES {
            return Err(Error::ProofText("too many hashes"));
        }
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint: checkpoint.parse()?,
        })
    }
}
