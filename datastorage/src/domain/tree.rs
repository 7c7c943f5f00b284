//! The Merkle tree of RFC 6962 in tiles of 256 hashes, as it grows.

use super::event::Hash;

/// Hashes of a full tile: the height of a tile is 8.
pub(crate) const TILE: u64 = 256;

/// The number of hashes of each level of tiles in a tree of `size` leaves, from the leaves up; none is zero.
pub(crate) fn level_sizes(size: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(size), |count| Some(count / TILE)).take_while(|count| *count > 0)
}

/// The tiles that change while a tree grows.
#[derive(Debug)]
pub(crate) struct Tiles {
    /// For each level the number of its hashes, and its hashes from the beginning of the last tile on.
    levels: Vec<(u64, Vec<u8>)>,
    full: Vec<(usize, u64, Vec<u8>)>,
}

impl Tiles {
    /// Of a tree with `size` leaves.
    pub(crate) fn new(size: u64) -> Self {
        Self {
            levels: level_sizes(size).map(|count| (count, Vec::new())).collect(),
            full: Vec::new(),
        }
    }

    /// Sets the hashes of a level's last tile, which is partial.
    pub(crate) fn set_last(&mut self, level: usize, hashes: &[u8]) {
        if let Some((_, last)) = self.levels.get_mut(level) {
            hashes.clone_into(last);
        }
    }

    /// Appends leaf hashes; returns the new size.
    pub(crate) fn append(&mut self, hashes: &[Hash]) -> u64 {
        for hash in hashes {
            self.push(0, hash);
        }
        self.levels.first().map_or(0, |(count, _)| *count)
    }

    fn push(&mut self, level: usize, hash: &Hash) {
        if level == self.levels.len() {
            self.levels.push((0, Vec::new()));
        }
        let (count, last) = &mut self.levels[level];
        last.extend_from_slice(hash);
        *count += 1;
        if *count % TILE == 0 {
            let full = std::mem::take(last);
            let (hashes, _) = full.as_chunks();
            let root = tlog::tile::full_tile_root(hashes).unwrap_or_default();
            self.full.push((level, *count / TILE - 1, full));
            self.push(level + 1, &root);
        }
    }

    /// Level, index and hashes of each tile that is new or longer.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (usize, u64, &[u8])> {
        let full = self
            .full
            .iter()
            .map(|(level, index, hashes)| (*level, *index, hashes.as_slice()));
        let partial = self
            .levels
            .iter()
            .enumerate()
            .filter_map(|(level, (count, hashes))| {
                (!hashes.is_empty()).then_some((level, count / TILE, hashes.as_slice()))
            });
        full.chain(partial)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tlog::{Frontier, leaf_hash, prove};

    use super::*;

    #[test]
    fn tiles_of_a_growing_tree_have_its_root() {
        let mut stored: BTreeMap<(usize, u64), Vec<u8>> = BTreeMap::new();
        let mut frontier = Frontier::new();
        let mut size = 0;
        for step in [1, 2, 252, 1, 1, 300, 70_000, 5] {
            let mut tiles = Tiles::new(size);
            for (level, count) in level_sizes(size).enumerate() {
                if count % TILE != 0 {
                    tiles.set_last(level, &stored[&(level, count / TILE)]);
                }
            }
            let leaves: Vec<Hash> = (size..size + step)
                .map(|leaf| leaf_hash(&leaf.to_be_bytes()))
                .collect();
            for leaf in &leaves {
                frontier.push(*leaf).unwrap();
            }
            size = tiles.append(&leaves);
            for (level, index, hashes) in tiles.changed() {
                stored.insert((level, index), hashes.to_vec());
            }
            let root = prove::root(size, |tile| {
                Ok::<_, tlog::Error>(stored[&(tile.level().into(), tile.index())].clone())
            });
            assert_eq!(root.unwrap(), frontier.root(), "{size}");
        }
    }
}
