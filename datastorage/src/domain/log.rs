//! What the transparency log has of a chain: the leaf of each event, and the entries of gaps of retention and legal holds.
//!
//! Anyone who writes to the database can enter a gap, the release of a hold or an erasure. With a key of the log they are signed, and
//! only signed ones count.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sha2::{Digest as _, Sha256};
use tlog::note::Signature;
use tlog::{Note, SignerKey, VerifierKey};

use super::event::Hash;

/// The kind of a leaf: the first byte of its entry, before 32 bytes of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An event; the hash is its own.
    Event,
    /// A gap of retention; the hash is the SHA-256 of its description.
    Gap,
    /// A gap of retention; the hash is the SHA-256 of its description with a signature ([`sign`]).
    SignedGap,
    /// A legal hold or its release; the hash is the SHA-256 of its description.
    Hold,
    /// A legal hold or its release; the hash is the SHA-256 of its description with a signature.
    SignedHold,
    /// The erasure of an event's data; the hash is the SHA-256 of its description.
    Erasure,
    /// The erasure of an event's data; the hash is the SHA-256 of its description with a signature.
    SignedErasure,
}

impl Kind {
    /// The kind in the database and in the entry.
    pub(crate) fn from_number(number: i16) -> Option<Self> {
        match number {
            1 => Some(Self::Event),
            2 => Some(Self::Gap),
            3 => Some(Self::SignedGap),
            4 => Some(Self::Hold),
            5 => Some(Self::SignedHold),
            6 => Some(Self::Erasure),
            7 => Some(Self::SignedErasure),
            _ => None,
        }
    }

    /// The kind in the database and in the entry.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Event => 1,
            Self::Gap => 2,
            Self::SignedGap => 3,
            Self::Hold => 4,
            Self::SignedHold => 5,
            Self::Erasure => 6,
            Self::SignedErasure => 7,
        }
    }

    /// The kind of the same entry with a signature.
    pub(crate) fn signed(self) -> Self {
        match self {
            Self::Gap => Self::SignedGap,
            Self::Hold => Self::SignedHold,
            Self::Erasure => Self::SignedErasure,
            other => other,
        }
    }

    /// The hash of a leaf, as in RFC 6962.
    pub(crate) fn leaf_hash(self, hash: &Hash) -> Hash {
        let mut entry = [self.number(); 33];
        entry[1..].copy_from_slice(hash);
        tlog::leaf_hash(&entry)
    }
}

/// The text whose signature is that of a description; a description may have characters that a note has not.
fn statement(description: &str) -> String {
    let hash = hex::encode(Sha256::digest(description));
    format!("kubernaut audit log entry\nsha256 {hash}\n")
}

/// The entry of a signed description: a line with the signature follows it.
pub(crate) fn sign(description: &str, key: &SignerKey) -> Result<String, tlog::Error> {
    let mut note = Note::new(statement(description))?;
    note.sign(key, 0)?;
    let signature = note.signatures().first().map(Signature::to_string);
    Ok(format!("{description}\n{}", signature.unwrap_or_default()))
}

/// The description of a signed entry; `None` if the key did not sign it. Without a key no signature is checked.
fn signed_description<'a>(entry: &'a str, key: Option<&VerifierKey>) -> Option<&'a str> {
    let (description, signature) = entry.rsplit_once('\n')?;
    if let Some(key) = key {
        let mut note = Note::new(statement(description)).ok()?;
        note.add(signature.parse().ok()?).ok()?;
        note.verify(std::slice::from_ref(key), 1).ok()?;
    }
    Some(description)
}

/// One leaf of a chain, or one that waits for its place.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) kind: Kind,
    pub(crate) sequence: i64,
    /// Of a gap; of an event its own position.
    pub(crate) last_sequence: i64,
    /// In the tree; of a waiting leaf as it will be.
    pub(crate) leaf_hash: Hash,
    /// Of anything but an event.
    pub(crate) entry: Option<String>,
}

/// The leaves of one chain.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChainLog {
    /// Leaf hashes of events by position. The first leaf of a position counts: others came later.
    events: BTreeMap<i64, Hash>,
    /// Descriptions of gaps, each as its leaf proves it, and their ranges.
    gaps: HashSet<String>,
    /// Descriptions of holds and releases.
    holds: BTreeSet<String>,
    /// Positions of events whose data was erased.
    erasures: BTreeSet<i64>,
    ranges: Vec<(i64, i64)>,
}

impl ChainLog {
    /// From leaves in the order of the tree. With a key of the log, only gaps and holds that it signed count.
    pub(crate) fn new(leaves: impl IntoIterator<Item = Leaf>, key: Option<&VerifierKey>) -> Self {
        let mut log = Self::default();
        for leaf in leaves {
            match (leaf.kind, leaf.entry) {
                (Kind::Event, _) => {
                    log.events.entry(leaf.sequence).or_insert(leaf.leaf_hash);
                }
                (kind, Some(entry)) => {
                    let description = match kind {
                        Kind::SignedGap | Kind::SignedHold | Kind::SignedErasure => {
                            signed_description(&entry, key)
                        }
                        _ => key.is_none().then_some(entry.as_str()),
                    };
                    let is_proved = kind.leaf_hash(&Sha256::digest(&entry).into()) == leaf.leaf_hash;
                    match description.filter(|_| is_proved) {
                        Some(description) if matches!(kind, Kind::Gap | Kind::SignedGap) => {
                            log.gaps.insert(description.to_owned());
                            log.ranges.push((leaf.sequence, leaf.last_sequence));
                        }
                        Some(description) if matches!(kind, Kind::Hold | Kind::SignedHold) => {
                            log.holds.insert(description.to_owned());
                        }
                        Some(_) => _ = log.erasures.insert(leaf.sequence),
                        None => {}
                    }
                }
                (_, None) => {}
            }
        }
        log
    }

    /// Whether a gap with this description is in the log.
    pub(crate) fn has_gap(&self, entry: &str) -> bool {
        self.gaps.contains(entry)
    }

    /// Whether the log has the erasure of the data of the event at this position.
    pub(crate) fn has_erasure(&self, sequence: i64) -> bool {
        self.erasures.contains(&sequence)
    }

    /// The descriptions of holds and releases.
    pub(crate) fn holds(&self) -> &BTreeSet<String> {
        &self.holds
    }

    /// Whether the log has the event at this position with this hash; `None` if it has none.
    pub(crate) fn has_event(&self, sequence: i64, event_hash: &Hash) -> Option<bool> {
        let leaf_hash = self.events.get(&sequence)?;
        Some(Kind::Event.leaf_hash(event_hash) == *leaf_hash)
    }

    /// Positions of events that retention did not remove.
    pub(crate) fn remaining(&self) -> impl Iterator<Item = i64> {
        self.events.keys().copied().filter(|sequence| {
            !self
                .ranges
                .iter()
                .any(|(first, last)| (first..=last).contains(&sequence))
        })
    }
}
