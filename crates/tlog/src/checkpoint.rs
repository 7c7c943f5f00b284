//! Checkpoints of `c2sp.org/tlog-checkpoint`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::key::{SignerKey, VerifierKey};
use crate::merkle::{Frontier, Hash, verify_consistency};
use crate::note::{Note, Verified};
use crate::{Error, MAX_SIZE};

/// The state of a log: the text of a signed note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Unique name of the log, such as `example.com/log`, without newline.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root hash at this size.
    pub root: Hash,
    /// Extension lines, not empty, without newline.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// Returns the checkpoint of a tree, without extension lines.
    pub fn new(origin: impl Into<String>, tree: &Frontier) -> Self {
        Self {
            origin: origin.into(),
            size: tree.size(),
            root: tree.root(),
            extensions: Vec::new(),
        }
    }

    /// Signs with the log's key, whose name should be the origin.
    pub fn sign(&self, key: &SignerKey) -> Result<Note, Error> {
        let text = self.to_string();
        if text.parse::<Self>()? != *self {
            return Err(Error::Checkpoint("newline in the origin or in an extension line"));
        }
        let mut note = Note::new(text)?;
        note.sign(key, 0)?;
        Ok(note)
    }

    /// Verifies a signed checkpoint: the log's signature, the origin (the name of the log's key), and cosignatures
    /// of at least `needed` of the `witnesses`. Returns it with the valid signatures, the log's first.
    pub fn open(
        note: &Note,
        log: &VerifierKey,
        witnesses: &[VerifierKey],
        needed: usize,
    ) -> Result<(Self, Vec<Verified>), Error> {
        let mut verified = note.verify(std::slice::from_ref(log), 1)?;
        match note.verify(witnesses, needed) {
            Ok(cosigned) => verified.extend(cosigned),
            Err(Error::TooFewSignatures { .. }) if needed == 0 => {}
            Err(error) => return Err(error),
        }
        let checkpoint: Self = note.text().parse()?;
        checkpoint.check_origin(log.name())?;
        Ok((checkpoint, verified))
    }

    /// Verifies that this checkpoint's tree extends the tree of `old`, of the same log.
    pub fn is_extension(&self, old: &Self, proof: &[Hash]) -> Result<(), Error> {
        self.check_origin(&old.origin)?;
        verify_consistency(old.size, &old.root, self.size, &self.root, proof)
    }

    fn check_origin(&self, expected: &str) -> Result<(), Error> {
        if self.origin == expected {
            return Ok(());
        }
        Err(Error::Origin {
            found: self.origin.clone(),
            expected: expected.to_owned(),
        })
    }
}

impl fmt::Display for Checkpoint {
    /// Prints the note's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, encode_hash(&self.root))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text
            .strip_suffix('\n')
            .ok_or(Error::Checkpoint("no newline at the end"))?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(Error::Checkpoint("fewer than three lines"));
        };
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if origin.is_empty() || extensions.iter().any(String::is_empty) {
            return Err(Error::Checkpoint("empty line"));
        }
        let size = decode_number(size).ok_or(Error::Checkpoint("invalid tree size"))?;
        let root = decode_hash(root).ok_or(Error::Checkpoint("invalid root hash"))?;
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions,
        })
    }
}

pub(crate) fn encode_hash(hash: &Hash) -> String {
    STANDARD.encode(hash)
}

pub(crate) fn decode_hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Parses a decimal number up to [`MAX_SIZE`] without sign and leading zeroes.
pub(crate) fn decode_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number <= MAX_SIZE && number.to_string() == text).then_some(number)
}
