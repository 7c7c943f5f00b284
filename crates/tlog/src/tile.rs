//! Tiles and entry bundles of `c2sp.org/tlog-tiles`: coordinates, paths and contents.

use std::fmt;
use std::str::FromStr;

use crate::merkle::{Hash, node_hash};
use crate::{Error, MAX_SIZE};

/// Hashes in a full tile, entries in a full bundle.
pub const FULL_WIDTH: u16 = 256;
/// Levels of tiles that a tree of [`MAX_SIZE`] leaves has.
const LEVELS: u8 = 8;
const MAX_LEVEL: u8 = 63;

/// Coordinates of a tile: level, index within the level, and number of hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// Returns the tile at `level` (0 to 63) and `index` with `width` (1 to 256) hashes.
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, Error> {
        let valid = level <= MAX_LEVEL && (1..=FULL_WIDTH).contains(&width) && index <= MAX_SIZE;
        if valid {
            Ok(Self { level, index, width })
        } else {
            Err(Error::TilePath)
        }
    }

    /// Returns the tile at `level` and `index` as wide as a tree of `size` leaves has it, or `None` if it has none.
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = hashes_at(level, size);
        let width = hashes
            .saturating_sub(index.checked_mul(FULL_WIDTH.into())?)
            .min(FULL_WIDTH.into());
        Self::new(level, index, u16::try_from(width).ok()?).ok()
    }

    /// Returns the level; leaf hashes are at level 0.
    pub fn level(self) -> u8 {
        self.level
    }

    /// Returns the index within the level.
    pub fn index(self) -> u64 {
        self.index
    }

    /// Returns the number of hashes, 1 to 256.
    pub fn width(self) -> u16 {
        self.width
    }

    /// Returns whether the tile has 256 hashes and never changes again.
    pub fn is_full(self) -> bool {
        self.width == FULL_WIDTH
    }

    /// Splits the tile's data into hashes. Data of a wider version of the tile is accepted and cut.
    pub fn hashes(self, data: &[u8]) -> Result<&[Hash], Error> {
        let (hashes, rest) = data.as_chunks::<32>();
        match hashes.get(..self.width.into()) {
            Some(hashes) if rest.is_empty() => Ok(hashes),
            _ => Err(Error::TileData {
                tile: self.to_string(),
                bytes: data.len(),
            }),
        }
    }
}

impl fmt::Display for Tile {
    /// Prints the path: `tile/<L>/<N>[.p/<W>]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_position(f, self.index, self.width)
    }
}

impl FromStr for Tile {
    type Err = Error;

    fn from_str(path: &str) -> Result<Self, Error> {
        let (level, position) = path
            .strip_prefix("tile/")
            .and_then(|it| it.split_once('/'))
            .ok_or(Error::TilePath)?;
        let (index, width) = parse_position(position)?;
        let tile = Self::new(level.parse().map_err(|_| Error::TilePath)?, index, width)?;
        // One path per tile: the number parser also accepts "+1" and "01".
        if tile.to_string() == path {
            Ok(tile)
        } else {
            Err(Error::TilePath)
        }
    }
}

/// Coordinates of an entry bundle: the entries whose hashes are in the level-0 tile of the same index and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    index: u64,
    width: u16,
}

impl Bundle {
    /// Returns the bundle at `index` with `width` (1 to 256) entries.
    pub fn new(index: u64, width: u16) -> Result<Self, Error> {
        Tile::new(0, index, width).map(|_| Self { index, width })
    }

    /// Returns the index.
    pub fn index(self) -> u64 {
        self.index
    }

    /// Returns the number of entries, 1 to 256.
    pub fn width(self) -> u16 {
        self.width
    }

    /// Splits the bundle's data into its entries.
    pub fn entries(self, mut data: &[u8]) -> Result<Vec<&[u8]>, Error> {
        let mut entries = Vec::with_capacity(self.width.into());
        while let Some((length, rest)) = data.split_first_chunk::<2>() {
            let length = u16::from_be_bytes(*length).into();
            let (entry, rest) = rest
                .split_at_checked(length)
                .ok_or(Error::Bundle("entry is cut off"))?;
            entries.push(entry);
            if entries.len() > self.width.into() {
                break;
            }
            data = rest;
        }
        if !data.is_empty() || entries.len() != usize::from(self.width) {
            return Err(Error::Bundle("wrong number of entries"));
        }
        Ok(entries)
    }

    /// Encodes entries (at most 256, of at most 65,535 bytes each) as a bundle's data.
    pub fn encode<E: AsRef<[u8]>>(entries: impl IntoIterator<Item = E>) -> Result<Vec<u8>, Error> {
        let mut data = Vec::new();
        for (position, entry) in entries.into_iter().enumerate() {
            if position == usize::from(FULL_WIDTH) {
                return Err(Error::Bundle("more than 256 entries"));
            }
            let entry = entry.as_ref();
            let length = u16::try_from(entry.len()).map_err(|_| Error::Bundle("entry over 65535 bytes"))?;
            data.extend_from_slice(&length.to_be_bytes());
            data.extend_from_slice(entry);
        }
        Ok(data)
    }
}

impl fmt::Display for Bundle {
    /// Prints the path: `tile/entries/<N>[.p/<W>]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_position(f, self.index, self.width)
    }
}

impl FromStr for Bundle {
    type Err = Error;

    fn from_str(path: &str) -> Result<Self, Error> {
        let position = path.strip_prefix("tile/entries/").ok_or(Error::TilePath)?;
        let (index, width) = parse_position(position)?;
        let bundle = Self::new(index, width)?;
        if bundle.to_string() == path {
            Ok(bundle)
        } else {
            Err(Error::TilePath)
        }
    }
}

/// Returns the number of hashes at `level`: complete subtrees of 256^level leaves.
fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// Returns the tiles that are new or wider when a tree grows from `from` to `to` leaves, lowest level first.
pub fn changed_tiles(from: u64, to: u64) -> impl Iterator<Item = Tile> {
    (0..LEVELS).flat_map(move |level| {
        let full = u64::from(FULL_WIDTH);
        let (old, new) = (hashes_at(level, from), hashes_at(level, to));
        let indices = if old < new {
            old / full..new.div_ceil(full)
        } else {
            0..0
        };
        indices.filter_map(move |index| Tile::in_tree(level, index, to))
    })
}

/// Returns the entry bundles that are new or wider when a tree grows from `from` to `to` leaves.
pub fn changed_bundles(from: u64, to: u64) -> impl Iterator<Item = Bundle> {
    let tiles = changed_tiles(from, to).take_while(|tile| tile.level == 0);
    tiles.map(|tile| Bundle {
        index: tile.index,
        width: tile.width,
    })
}

/// Returns the root of the 256 hashes of a full tile: its hash in the level above.
pub fn full_tile_root(hashes: &[Hash]) -> Result<Hash, Error> {
    // The specification forbids hashing a partial tile into the level above.
    if hashes.len() == usize::from(FULL_WIDTH) {
        Ok(complete_root(hashes))
    } else {
        Err(Error::TilePath)
    }
}

/// Returns the root of a complete subtree over a power of two of hashes.
pub(crate) fn complete_root(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[left, right]| node_hash(left, right))
            .collect();
    }
    level.first().copied().unwrap_or_default()
}

fn write_position(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut scale: u64 = 1;
    while index / scale >= 1000 {
        scale *= 1000;
    }
    while scale > 1 {
        write!(f, "x{:03}/", index / scale % 1000)?;
        scale /= 1000;
    }
    write!(f, "{:03}", index % 1000)?;
    if width < FULL_WIDTH {
        write!(f, ".p/{width}")
    } else {
        Ok(())
    }
}

/// Parses `<N>[.p/<W>]`. The calling code compares with the printed form, so this may accept more than one form.
fn parse_position(text: &str) -> Result<(u64, u16), Error> {
    let (digits, width) = match text.split_once(".p/") {
        Some((digits, width)) => (digits, width.parse().map_err(|_| Error::TilePath)?),
        None => (text, FULL_WIDTH),
    };
    let mut index: u64 = 0;
    for part in digits.split('/') {
        let part: u64 = part
            .trim_start_matches('x')
            .parse()
            .map_err(|_| Error::TilePath)?;
        let next = index.checked_mul(1000).and_then(|index| index.checked_add(part));
        index = next.ok_or(Error::TilePath)?;
    }
    Ok((index, width))
}
