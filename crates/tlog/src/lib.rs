//! The core of a transparency log after C2SP's specifications: RFC 6962's Merkle tree ([`merkle`]), its storage in
//! tiles ([`tile`], `tlog-tiles`), proofs from tiles ([`prove`], many of them [`prover`]), signed notes and cosignatures ([`note`], [`key`]),
//! checkpoints ([`checkpoint`]) and self-contained proofs ([`proof`], `tlog-proof`). No I/O.
//!
//! ```
//! use tlog::{Algorithm, Checkpoint, Error, Frontier, Proof, SignerKey, leaf_hash, prove};
//!
//! # fn main() -> Result<(), Error> {
//! // Append. An integrator stores the leaf hashes, and `tree.to_bytes()` to resume.
//! let mut tree = Frontier::new();
//! let mut leaves = Vec::new();
//! for event in ["created", "approved", "executed"] {
//!     leaves.extend_from_slice(&leaf_hash(event.as_bytes()));
//!     tree.push(leaf_hash(event.as_bytes()))?;
//! }
//!
//! // Sign a checkpoint. The seed is random in practice.
//! let key = SignerKey::from_seed("example.com/log", Algorithm::Ed25519, [7; 32])?;
//! let checkpoint = Checkpoint::new("example.com/log", &tree).sign(&key)?;
//!
//! // Prove that leaf 1 is in it: three leaves are one partial tile.
//! let hashes = prove::inclusion(1, tree.size(), |tile| {
//!     assert_eq!(tile.to_string(), "tile/0/000.p/3");
//!     Ok::<_, Error>(leaves.clone())
//! })?;
//! let text = Proof { extra: None, index: 1, hashes, checkpoint }.to_string();
//!
//! // Verify elsewhere, with the text, the event and the public key alone.
//! let verifier = key.verifier().to_string().parse()?;
//! let proof: Proof = text.parse()?;
//! let signed = proof.verify(&leaf_hash(b"approved"), &verifier, &[], 0)?;
//! assert_eq!(signed.size, 3);
//! assert!(proof.verify(&leaf_hash(b"rejected"), &verifier, &[], 0).is_err());
//! # Ok(())
//! # }
//! ```

pub mod checkpoint;
mod error;
pub mod key;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod prove;
pub mod prover;
pub mod tile;

pub use checkpoint::Checkpoint;
pub use error::Error;
pub use key::{Algorithm, SignerKey, VerifierKey};
pub use merkle::{
    Frontier, Hash, MAX_SIZE, empty_root, leaf_hash, node_hash, verify_consistency, verify_inclusion,
};
pub use note::Note;
pub use proof::Proof;
pub use tile::{Bundle, Tile};
