//! Proofs and roots from tiles: each is a list of leaf ranges, and a range's hash comes from one to a few tiles.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::merkle::{Hash, join};
use crate::tile::{FULL_WIDTH, Tile, complete_root};
use crate::{Error, MAX_SIZE};

/// Returns the inclusion proof of leaf `index` in the tree of `size` leaves, from the leaf's sibling up.
///
/// `read` returns a tile's data ([`Tile::hashes`]), and is called once for each of [`inclusion_tiles`].
pub fn inclusion<E: From<Error>>(
    index: u64,
    size: u64,
    read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
) -> Result<Vec<Hash>, E> {
    hash_ranges(inclusion_ranges(index, size)?, size, read)
}

/// Returns the consistency proof from the tree of `old_size` to the tree of `new_size` leaves.
pub fn consistency<E: From<Error>>(
    old_size: u64,
    new_size: u64,
    read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
) -> Result<Vec<Hash>, E> {
    hash_ranges(consistency_ranges(old_size, new_size)?, new_size, read)
}

/// Returns the root of the tree of `size` leaves.
pub fn root<E: From<Error>>(size: u64, read: impl FnMut(Tile) -> Result<Vec<u8>, E>) -> Result<Hash, E> {
    check_size(size)?;
    let whole = Range { start: 0, end: size };
    Ok(hash_ranges(vec![whole], size, read)?
        .first()
        .copied()
        .unwrap_or_default())
}

/// Returns the tiles that [`inclusion`] reads, to fetch them in one query.
pub fn inclusion_tiles(index: u64, size: u64) -> Result<BTreeSet<Tile>, Error> {
    tiles(inclusion_ranges(index, size)?, size)
}

/// Returns the tiles that [`consistency`] reads, to fetch them in one query.
pub fn consistency_tiles(old_size: u64, new_size: u64) -> Result<BTreeSet<Tile>, Error> {
    tiles(consistency_ranges(old_size, new_size)?, new_size)
}

pub(crate) fn check_size(size: u64) -> Result<(), Error> {
    if size > MAX_SIZE { Err(Error::Size) } else { Ok(()) }
}

/// Returns the largest power of two below `leaves`, which is at least 2.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// `PATH(m, D[n])` of RFC 6962, 2.1.1.
pub(crate) fn inclusion_ranges(index: u64, size: u64) -> Result<Vec<Range<u64>>, Error> {
    check_size(size)?;
    if index >= size {
        return Err(Error::Range {
            position: index,
            size,
        });
    }
    let (mut start, mut end, mut ranges) = (0, size, Vec::new());
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(start..middle);
            start = middle;
        }
    }
    ranges.reverse();
    Ok(ranges)
}

/// `PROOF(m, D[n])` of RFC 6962, 2.1.2.
fn consistency_ranges(old_size: u64, new_size: u64) -> Result<Vec<Range<u64>>, Error> {
    check_size(new_size)?;
    if old_size > new_size {
        return Err(Error::Range {
            position: old_size,
            size: new_size,
        });
    }
    if old_size == 0 {
        return Ok(Vec::new());
    }
    let (mut start, mut end, mut ranges) = (0, new_size, Vec::new());
    while old_size != end {
        let middle = start + split(end - start);
        if old_size <= middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(start..middle);
            start = middle;
        }
    }
    // The verifier has the hash of 0..old_size: it is the old root.
    if start > 0 {
        ranges.push(start..end);
    }
    ranges.reverse();
    Ok(ranges)
}

/// Complete subtrees that a range consists of, largest first, as (height, index at that height).
pub(crate) fn subtrees(range: Range<u64>) -> impl Iterator<Item = (u32, u64)> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let height = (range.end - start).checked_ilog2()?;
        let subtree = (height, start >> height);
        start += 1 << height;
        Some(subtree)
    })
}

/// Returns the tile that has a complete subtree's hashes, and which of them.
pub(crate) fn locate((height, index): (u32, u64), size: u64) -> Result<(Tile, Range<usize>), Error> {
    let full = u64::from(FULL_WIDTH);
    let leaves = 1 << (height % 8);
    let first = index * leaves;
    let level = u8::try_from(height / 8).map_err(|_| Error::Size)?;
    let tile = Tile::in_tree(level, first / full, size).ok_or(Error::Size)?;
    let offset = usize::try_from(first % full).map_err(|_| Error::Size)?;
    let leaves = usize::try_from(leaves).map_err(|_| Error::Size)?;
    Ok((tile, offset..offset + leaves))
}

fn tiles(ranges: Vec<Range<u64>>, size: u64) -> Result<BTreeSet<Tile>, Error> {
    let subtrees = ranges.into_iter().flat_map(subtrees);
    subtrees.map(|subtree| Ok(locate(subtree, size)?.0)).collect()
}

fn hash_ranges<E: From<Error>>(
    ranges: Vec<Range<u64>>,
    size: u64,
    mut read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
) -> Result<Vec<Hash>, E> {
    let mut data_of: BTreeMap<Tile, Vec<u8>> = BTreeMap::new();
    let mut hashes = Vec::with_capacity(ranges.len());
    for range in ranges {
        let mut roots = Vec::new();
        for subtree in subtrees(range) {
            let (tile, within) = locate(subtree, size)?;
            let data = match data_of.entry(tile) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => entry.insert(read(tile)?),
            };
            let short = || Error::TileData {
                tile: tile.to_string(),
                bytes: 0,
            };
            roots.push(complete_root(tile.hashes(data)?.get(within).ok_or_else(short)?));
        }
        hashes.push(join(&roots));
    }
    Ok(hashes)
}
