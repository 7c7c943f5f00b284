//! RFC 6962's Merkle tree: hashes, the frontier of a growing tree, and verification of proofs.

use ring::digest::{Context, SHA256, digest};

use crate::Error;

/// SHA-256 hash of a leaf, node or tree.
pub type Hash = [u8; 32];

/// Maximum number of leaves: what Go's `int64` and PostgreSQL's `bigint` can count.
pub const MAX_SIZE: u64 = i64::MAX as u64;

fn to_hash(digest: ring::digest::Digest) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// Returns the SHA-256 hash of `data`.
pub(crate) fn sha256(data: &[u8]) -> Hash {
    to_hash(digest(&SHA256, data))
}

/// Returns the hash of a leaf: `SHA-256(0x00 || data)`.
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(data);
    to_hash(context.finish())
}

/// Returns the hash of an inner node: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = [1; 65];
    input[1..33].copy_from_slice(left);
    input[33..].copy_from_slice(right);
    sha256(&input)
}

/// Returns the root of a tree without leaves: the hash of no bytes.
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// Joins roots of complete subtrees, largest first, as RFC 6962 joins them: from the right.
pub(crate) fn join(subtrees: &[Hash]) -> Hash {
    let mut right_to_left = subtrees.iter().rev();
    let Some(last) = right_to_left.next() else {
        return empty_root();
    };
    right_to_left.fold(*last, |right, left| node_hash(left, &right))
}

/// The right edge of a growing tree: the roots of its complete subtrees, largest first.
///
/// Between 0 and 63 hashes are enough to append leaves and to compute the root. Store [`Frontier::to_bytes`] (or
/// [`Frontier::size`] and [`Frontier::peaks`]) to resume later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Returns the frontier of an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Resumes from a stored size and its peaks, largest subtree first: one for each bit of `size` that is set.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Result<Self, Error> {
        if size > MAX_SIZE {
            return Err(Error::Size);
        }
        let expected = size.count_ones();
        if peaks.len() != expected as usize {
            return Err(Error::Frontier { expected });
        }
        Ok(Self { size, peaks })
    }

    /// Reads what [`Frontier::to_bytes`] returned.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (size, peaks) = bytes
            .split_first_chunk::<8>()
            .ok_or(Error::Frontier { expected: 0 })?;
        let size = u64::from_be_bytes(*size);
        let (peaks, rest) = peaks.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(Error::Frontier {
                expected: size.count_ones(),
            });
        }
        Self::from_parts(size, peaks.to_vec())
    }

    /// Returns the size (8 bytes, big-endian) and the peaks (32 bytes each), at most 2,024 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.peaks.as_flattened());
        bytes
    }

    /// Appends one leaf by its hash ([`leaf_hash`]), at index [`Frontier::size`].
    pub fn push(&mut self, leaf: Hash) -> Result<(), Error> {
        if self.size == MAX_SIZE {
            return Err(Error::Size);
        }
        let mut hash = leaf;
        // Each trailing one of the size is a complete subtree that the new leaf completes to a larger one.
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
        Ok(())
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the roots of the complete subtrees, largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Returns the root hash.
    pub fn root(&self) -> Hash {
        join(&self.peaks)
    }
}

/// Verifies that `leaf` is the hash of leaf `index` in the tree of `size` leaves and root `root` (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), Error> {
    if size > MAX_SIZE {
        return Err(Error::Size);
    }
    if index >= size {
        return Err(Error::Range {
            position: index,
            size,
        });
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(Error::Proof);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            skip_missing_siblings(&mut node, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root {
        Ok(())
    } else {
        Err(Error::Proof)
    }
}

/// Climbs past levels where the rightmost node has no sibling.
fn skip_missing_siblings(node: &mut u64, last: &mut u64) {
    while *node & 1 == 0 && *node != 0 {
        *node >>= 1;
        *last >>= 1;
    }
}

/// Verifies that the tree of `new_size` leaves begins with the leaves of the tree of `old_size` (RFC 9162, 2.1.4.2).
///
/// The proof is empty where the sizes are equal or the old tree is empty.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), Error> {
    if new_size > MAX_SIZE {
        return Err(Error::Size);
    }
    if old_size > new_size {
        return Err(Error::Range {
            position: old_size,
            size: new_size,
        });
    }
    if old_size == 0 || old_size == new_size {
        let expected = if old_size == 0 { &empty_root() } else { new_root };
        let empty_is_empty = new_size > 0 || *new_root == empty_root();
        let valid = proof.is_empty() && old_root == expected && empty_is_empty;
        return if valid { Ok(()) } else { Err(Error::Proof) };
    }
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    let complete_levels = node.trailing_ones();
    node >>= complete_levels;
    last >>= complete_levels;
    // An old tree that is a complete subtree of the new one is its own first hash.
    let (first, rest) = match proof.split_first() {
        _ if node == 0 => (old_root, proof),
        Some(parts) => parts,
        None => return Err(Error::Proof),
    };
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(Error::Proof);
        }
        if node & 1 == 1 || node == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            skip_missing_siblings(&mut node, &mut last);
        } else {
            new = node_hash(&new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && old == *old_root && new == *new_root {
        Ok(())
    } else {
        Err(Error::Proof)
    }
}
