//! Errors of every module.

/// Reason why data of a log is invalid, or why a proof or a signature was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tree would exceed [`crate::MAX_SIZE`] leaves.
    #[error("tree size exceeds 2^63-1 leaves")]
    Size,
    /// A leaf or an old tree is outside of the tree.
    #[error("position {position} is outside of a tree of {size} leaves")]
    Range {
        /// Index of the leaf, or size of the old tree.
        position: u64,
        /// Size of the tree.
        size: u64,
    },
    /// The stored frontier has the wrong number of hashes or bytes.
    #[error("invalid frontier: expected {expected} hashes for this size")]
    Frontier {
        /// Number of hashes that a frontier of this size has.
        expected: u32,
    },
    /// An inclusion or consistency proof doesn't lead to the given root.
    #[error("proof does not match the root hash")]
    Proof,
    /// Tile data is shorter than the tile or no multiple of 32 bytes.
    #[error("tile {tile} has {bytes} bytes of data")]
    TileData {
        /// Path of the tile.
        tile: String,
        /// Length of the data.
        bytes: usize,
    },
    /// A path or coordinates of no tile.
    #[error("invalid tile path or coordinates")]
    TilePath,
    /// An entry bundle that can't be encoded or decoded.
    #[error("invalid entry bundle: {0}")]
    Bundle(&'static str),
    /// A malformed note.
    #[error("malformed note: {0}")]
    Note(&'static str),
    /// A malformed key.
    #[error("malformed key: {0}")]
    Key(&'static str),
    /// A known key's signature is invalid, so the whole note is rejected.
    #[error("invalid signature of {0}")]
    Signature(String),
    /// Too few known keys signed the note.
    #[error("{found} of {needed} needed signatures by known keys")]
    TooFewSignatures {
        /// Valid signatures by distinct known keys.
        found: usize,
        /// Signatures that the policy needs.
        needed: usize,
    },
    /// A malformed checkpoint.
    #[error("malformed checkpoint: {0}")]
    Checkpoint(&'static str),
    /// A malformed proof text.
    #[error("malformed proof: {0}")]
    ProofText(&'static str),
    /// A checkpoint of another log.
    #[error("unexpected origin {found:?}, expected {expected:?}")]
    Origin {
        /// Origin line of the checkpoint.
        found: String,
        /// Origin of the expected log.
        expected: String,
    },
}
