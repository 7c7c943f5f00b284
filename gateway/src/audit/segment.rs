//! The files of the spool: a sequence of records that can be found again after damaged bytes.
//!
//! A record is `magic: 4 bytes | index: u32 | length: u32 | time: u64 | header checksum: u32 | text checksum: u32 |
//! text`, numbers little-endian. The index is its position in the segment, from 0; the time is in milliseconds since
//! 1970; checksums are CRC-32. No JSON contains the magic bytes, so that the record after a damaged one is found by
//! them, and its index says how many were lost. A process that is killed during a write leaves at most one incomplete
//! record, at the end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes before each text.
pub(super) const HEADER: usize = 28;
/// Maximum length of an event; a larger length field is invalid.
pub(super) const LONGEST: usize = 1 << 20;

/// Begins each record; the bytes occur in no UTF-8 text.
const MAGIC: [u8; 4] = [0xfe, 0xf5, 0xff, 0x01];
const SUFFIX: &str = "spool";

/// One event in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// When it was received, in milliseconds since 1970.
    pub time_ms: u64,
    /// Its JSON text.
    pub text: Vec<u8>,
}

impl Stored {
    /// Bytes in the segment.
    pub(super) fn size(&self) -> u64 {
        (HEADER + self.text.len()) as u64
    }

    /// Appends the record to `buffer`.
    pub(super) fn encode(&self, index: u32, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        let length = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        buffer.extend_from_slice(&MAGIC);
        buffer.extend_from_slice(&index.to_le_bytes());
        buffer.extend_from_slice(&length.to_le_bytes());
        buffer.extend_from_slice(&self.time_ms.to_le_bytes());
        let header = crc32fast::hash(&buffer[start..]);
        buffer.extend_from_slice(&header.to_le_bytes());
        buffer.extend_from_slice(&crc32fast::hash(&self.text).to_le_bytes());
        buffer.extend_from_slice(&self.text);
    }
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// The bytes end before the record does.
    Torn,
    /// A byte was changed.
    Corrupt,
}

/// Reads the record at the beginning of `bytes` with its index; `None` at the end.
fn decode(bytes: &[u8]) -> Result<Option<(u32, Stored)>, Damage> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        let magic = bytes.len().min(MAGIC.len());
        let torn = bytes[..magic] == MAGIC[..magic];
        return Err(if torn { Damage::Torn } else { Damage::Corrupt });
    };
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if header[..4] != MAGIC || number(20) != crc32fast::hash(&header[..20]) {
        return Err(Damage::Corrupt);
    }
    let length = number(8) as usize;
    if length > LONGEST {
        return Err(Damage::Corrupt);
    }
    let Some(text) = rest.get(..length) else {
        return Err(Damage::Torn);
    };
    if number(24) != crc32fast::hash(text) {
        return Err(Damage::Corrupt);
    }
    let time_ms = u64::from(number(12)) | u64::from(number(16)) << 32;
    let text = text.to_vec();
    Ok(Some((number(4), Stored { time_ms, text })))
}

/// A record, or bytes that are none.
#[derive(Debug, PartialEq, Eq)]
enum Item {
    Record(u32, Stored),
    /// Damaged bytes, followed by the record with this index or by the end, and how often records begin in them.
    Damaged {
        next: Option<u32>,
        begins: u64,
    },
    /// The last record is incomplete.
    Torn,
}

/// Reads records in order, and finds the next one after damaged bytes.
struct Records<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Iterator for Records<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let rest = self.bytes.get(self.position..)?;
        let damage = match decode(rest) {
            Ok(None) => return None,
            Ok(Some((index, record))) => {
                self.position += HEADER + record.text.len();
                return Some(Item::Record(index, record));
            }
            Err(damage) => damage,
        };
        let mut begins = u64::from(rest.starts_with(&MAGIC));
        for offset in 1..rest.len() {
            if !rest[offset..].starts_with(&MAGIC) {
                continue;
            }
            if let Ok(Some((index, _))) = decode(&rest[offset..]) {
                self.position += offset;
                return Some(Item::Damaged {
                    next: Some(index),
                    begins,
                });
            }
            begins += 1;
        }
        self.position = self.bytes.len();
        Some(match damage {
            Damage::Torn if begins <= 1 => Item::Torn,
            Damage::Torn | Damage::Corrupt => Item::Damaged { next: None, begins },
        })
    }
}

/// The content of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Number of records after the given offset.
    pub(super) events: u64,
    /// Number of records after it that are damaged.
    pub(super) lost: u64,
    /// The end of the last readable record.
    pub(super) length: u64,
    /// Whether any bytes are damaged.
    pub(super) corrupt: bool,
    /// Whether the last record is incomplete.
    pub(super) torn: bool,
    /// When its first record after the offset was received.
    pub(super) oldest_ms: Option<u64>,
}

/// Scans a whole segment, and counts the records after `offset`.
pub(super) fn scan(path: &Path, offset: u64) -> io::Result<Scan> {
    let bytes = std::fs::read(path)?;
    let mut found = Scan::default();
    let mut records = Records {
        bytes: &bytes,
        position: 0,
    };
    let mut expected = 0;
    loop {
        let start = records.position as u64;
        match records.next() {
            None => return Ok(found),
            Some(Item::Record(index, record)) => {
                if start >= offset {
                    found.events += 1;
                    found.oldest_ms.get_or_insert(record.time_ms);
                }
                found.length = records.position as u64;
                expected = index.saturating_add(1);
            }
            Some(Item::Damaged { next, begins }) => {
                found.corrupt = true;
                if start >= offset {
                    // At the end only the beginnings of records can be counted.
                    let missing = next.map_or(begins.max(1), |next| u64::from(next.saturating_sub(expected)));
                    found.lost += missing;
                }
            }
            Some(Item::Torn) => found.torn = true,
        }
    }
}

/// Records that were read from a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) records: Vec<Stored>,
    /// The end of the last one, or of damaged bytes.
    pub(super) end: u64,
    /// Whether damaged bytes were skipped.
    pub(super) damaged: bool,
}

/// Reads records from `offset` to `end`, at most `max_events` and about `max_bytes` of them, skipping damaged bytes.
pub(super) fn read(
    path: &Path,
    offset: u64,
    end: u64,
    max_events: usize,
    max_bytes: usize,
) -> io::Result<Part> {
    let mut file = File::open(path)?;
    // One record more than the limit, so that a record longer than the limit is read completely.
    let window = (max_bytes + HEADER + LONGEST) as u64;
    let mut bytes = read_window(&mut file, offset, end.saturating_sub(offset).min(window))?;
    let part = part_of(&bytes, offset, max_events, max_bytes);
    if !part.damaged || offset + window >= end {
        return Ok(part);
    }
    // The next record may be behind the window.
    bytes = read_window(&mut file, offset, end.saturating_sub(offset))?;
    Ok(part_of(&bytes, offset, max_events, max_bytes))
}

fn read_window(file: &mut File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn part_of(bytes: &[u8], offset: u64, max_events: usize, max_bytes: usize) -> Part {
    let mut items = Records { bytes, position: 0 };
    let mut part = Part {
        records: Vec::new(),
        end: offset,
        damaged: false,
    };
    while part.records.len() < max_events && items.position < max_bytes {
        match items.next() {
            None => break,
            Some(Item::Record(_, record)) => part.records.push(record),
            // At the end of the window a record is only cut off.
            Some(Item::Torn) if !part.records.is_empty() => break,
            Some(Item::Torn | Item::Damaged { .. }) => part.damaged = true,
        }
        part.end = offset + items.position as u64;
    }
    part
}

/// The path of segment `number`.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.{SUFFIX}"))
}

/// The numbers of the segments in `directory`, ascending.
pub(super) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == SUFFIX) {
            numbers.extend(
                path.file_stem()
                    .and_then(|stem| stem.to_str()?.parse::<u64>().ok()),
            );
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests;
