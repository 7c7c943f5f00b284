//! The end of the delivered events: a segment's number, an offset in it, and a checksum of both.

use std::fs::File;
use std::os::unix::fs::FileExt;

const LENGTH: usize = 20;

/// Reads the file of [`write`]; `None` if it is missing or invalid.
pub(super) fn read(file: &File) -> Option<(u64, u64)> {
    let mut bytes = [0; LENGTH];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let (numbers, checksum) = bytes.split_first_chunk::<16>()?;
    if checksum != crc32fast::hash(numbers).to_le_bytes() {
        return None;
    }
    let (segment, offset) = numbers.split_first_chunk::<8>()?;
    Some((
        u64::from_le_bytes(*segment),
        u64::from_le_bytes(offset.try_into().ok()?),
    ))
}

/// Writes atomically, so that a killed process leaves the old or the new file.
pub(super) fn write(file: &File, segment: u64, offset: u64) -> std::io::Result<()> {
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(&segment.to_le_bytes());
    bytes[8..16].copy_from_slice(&offset.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&checksum.to_le_bytes());
    file.write_all_at(&bytes, 0)
}
