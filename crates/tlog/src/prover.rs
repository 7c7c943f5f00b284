//! Many inclusion proofs in one tree: tiles are read, and their inner nodes computed, once.

use std::collections::BTreeMap;

use crate::Error;
use crate::merkle::{Hash, join, node_hash};
use crate::prove::{check_size, inclusion_ranges, locate, subtrees};
use crate::tile::Tile;

/// Tiles that one proof in the largest tree needs, and some more.
const MIN_TILES: usize = 64;

/// Makes inclusion proofs in a tree of one size, from tiles that the calling code reads.
///
/// ```
/// use tlog::{Error, leaf_hash, prover::Prover, verify_inclusion};
///
/// # fn main() -> Result<(), Error> {
/// let leaves = [leaf_hash(b"created"), leaf_hash(b"approved"), leaf_hash(b"executed")];
/// let mut prover = Prover::new(3, 1000)?;
/// for tile in prover.missing(1)? {
///     assert_eq!(tile.to_string(), "tile/0/000.p/3");
///     prover.insert(tile, leaves.as_flattened())?;
/// }
/// assert!(prover.missing(2)?.is_empty());
/// assert_eq!(prover.inclusion(1)?.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Prover {
    size: u64,
    max_tiles: usize,
    tiles: BTreeMap<Tile, Nodes>,
    /// Number of uses so far.
    uses: u64,
}

/// The nodes of a tile by height, from its own hashes up to 7 levels above.
#[derive(Debug)]
struct Nodes {
    heights: Vec<Vec<Hash>>,
    used: u64,
}

impl Prover {
    /// Returns a prover for the tree of `size` leaves that keeps up to `max_tiles` tiles (64 or more), of 16 KiB each.
    pub fn new(size: u64, max_tiles: usize) -> Result<Self, Error> {
        check_size(size)?;
        Ok(Self {
            size,
            max_tiles: max_tiles.max(MIN_TILES),
            tiles: BTreeMap::new(),
            uses: 0,
        })
    }

    /// Returns the size of the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the tiles that are to be inserted before leaf `index` can be proved.
    pub fn missing(&mut self, index: u64) -> Result<Vec<Tile>, Error> {
        let mut missing = Vec::new();
        self.uses += 1;
        for subtree in inclusion_ranges(index, self.size)?.into_iter().flat_map(subtrees) {
            let (tile, _) = locate(subtree, self.size)?;
            match self.tiles.get_mut(&tile) {
                Some(nodes) => nodes.used = self.uses,
                None if missing.contains(&tile) => {}
                None => missing.push(tile),
            }
        }
        Ok(missing)
    }

    /// Inserts a tile's data ([`Tile::hashes`]); the tile that was not used for the longest time makes room for it.
    pub fn insert(&mut self, tile: Tile, data: &[u8]) -> Result<(), Error> {
        let mut heights = vec![tile.hashes(data)?.to_vec()];
        while heights.len() < 8 {
            let below = heights.last().map_or(&[][..], Vec::as_slice);
            let pairs = below.as_chunks::<2>().0.iter();
            heights.push(pairs.map(|[left, right]| node_hash(left, right)).collect());
        }
        if self.tiles.len() >= self.max_tiles
            && let Some(oldest) = self
                .tiles
                .iter()
                .min_by_key(|(_, nodes)| nodes.used)
                .map(|(tile, _)| *tile)
        {
            self.tiles.remove(&oldest);
        }
        let used = self.uses;
        self.tiles.insert(tile, Nodes { heights, used });
        Ok(())
    }

    /// Returns the inclusion proof of leaf `index`, from its sibling up.
    ///
    /// # Errors
    /// A tile is missing.
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>, Error> {
        let ranges = inclusion_ranges(index, self.size)?;
        ranges
            .into_iter()
            .map(|range| {
                let roots: Result<Vec<Hash>, Error> =
                    subtrees(range).map(|subtree| self.node(subtree)).collect();
                Ok(join(&roots?))
            })
            .collect()
    }

    fn node(&self, subtree: (u32, u64)) -> Result<Hash, Error> {
        let (tile, within) = locate(subtree, self.size)?;
        let height = within.len().ilog2();
        let nodes = self.tiles.get(&tile);
        nodes
            .and_then(|nodes| nodes.heights.get(height as usize)?.get(within.start >> height))
            .copied()
            .ok_or_else(|| Error::TileData {
                tile: tile.to_string(),
                bytes: 0,
            })
    }
}
