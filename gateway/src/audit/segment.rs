//! The files of the spool: a sequence of records, each with its length and a checksum.
//!
//! A record is `length: u32 | checksum: u32 | time: u64 | text`, numbers little-endian. The checksum (CRC-32) is over
//! time and text; the time is in milliseconds since 1970. A process that is killed during a write leaves at most one
//! incomplete record, at the end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes before each text.
pub(super) const HEADER: usize = 16;
/// Maximum length of an event; a larger length field is invalid.
pub(super) const LONGEST: usize = 1 << 20;

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
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        let length = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        let time = self.time_ms.to_le_bytes();
        buffer.extend_from_slice(&length.to_le_bytes());
        buffer.extend_from_slice(&checksum(&time, &self.text).to_le_bytes());
        buffer.extend_from_slice(&time);
        buffer.extend_from_slice(&self.text);
    }
}

fn checksum(time: &[u8], text: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(time);
    hasher.update(text);
    hasher.finalize()
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The text ends before the record does.
    Torn,
    /// The checksum differs.
    Corrupt,
}

/// Reads the record at the beginning of `bytes`; `None` at the end.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Stored>, Damage> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(Damage::Torn);
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3, time @ ..] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > LONGEST {
        return Err(Damage::Corrupt);
    }
    let Some(text) = rest.get(..length) else {
        return Err(Damage::Torn);
    };
    if u32::from_le_bytes([c0, c1, c2, c3]) != checksum(&time, text) {
        return Err(Damage::Corrupt);
    }
    Ok(Some(Stored {
        time_ms: u64::from_le_bytes(time),
        text: text.to_vec(),
    }))
}

/// The content of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Number of records after the given offset.
    pub(super) events: u64,
    /// The end of the last complete record.
    pub(super) length: u64,
    /// The damage after it.
    pub(super) damage: Option<Damage>,
    /// When its first record after the offset was received.
    pub(super) oldest_ms: Option<u64>,
}

/// Scans a whole segment, and counts the records after `offset`.
pub(super) fn scan(path: &Path, offset: u64) -> io::Result<Scan> {
    let bytes = std::fs::read(path)?;
    let mut found = Scan {
        events: 0,
        length: 0,
        damage: None,
        oldest_ms: None,
    };
    loop {
        let position = usize::try_from(found.length).unwrap_or(usize::MAX);
        match decode(bytes.get(position..).unwrap_or_default()) {
            Ok(None) => return Ok(found),
            Ok(Some(record)) => {
                if found.length >= offset {
                    found.events += 1;
                    found.oldest_ms.get_or_insert(record.time_ms);
                }
                found.length += record.size();
            }
            Err(damage) => {
                found.damage = Some(damage);
                return Ok(found);
            }
        }
    }
}

/// Reads records from `offset` to `end`, at most `max_events` and about `max_bytes` of them; also returns the end
/// of the last one.
pub(super) fn read(
    path: &Path,
    offset: u64,
    end: u64,
    max_events: usize,
    max_bytes: usize,
) -> io::Result<(Vec<Stored>, u64)> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    // One record more than the limit, so that a record longer than the limit is read completely.
    let window = (max_bytes + HEADER + LONGEST) as u64;
    let mut bytes = Vec::new();
    file.take(end.saturating_sub(offset).min(window))
        .read_to_end(&mut bytes)?;
    let mut records = Vec::new();
    let mut position = 0;
    while records.len() < max_events && position < max_bytes {
        match decode(bytes.get(position..).unwrap_or_default()) {
            Ok(Some(record)) => {
                position += HEADER + record.text.len();
                records.push(record);
            }
            Ok(None) => break,
            // At the end of the window it is only cut off; other damage was reported by the scan.
            Err(_) if !records.is_empty() => break,
            Err(damage) => {
                let message = format!("{}: {damage:?} record at {offset}", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
    }
    Ok((records, offset + position as u64))
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
mod tests {
    use super::*;

    fn stored(text: &str) -> Stored {
        Stored {
            time_ms: 7,
            text: text.as_bytes().to_vec(),
        }
    }

    fn file_of(texts: &[&str]) -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let mut bytes = Vec::new();
        for text in texts {
            stored(text).encode(&mut bytes);
        }
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path(), 1);
        std::fs::write(&path, &bytes).unwrap();
        (directory, path, bytes)
    }

    #[test]
    fn file_cut_anywhere_keeps_every_complete_record() {
        let (_directory, path, bytes) = file_of(&["one", "two", "three"]);
        let ends = [0, 19, 38, 59];
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
            let expected = Scan {
                events: whole as u64,
                length: ends[whole] as u64,
                damage: (ends[whole] != cut).then_some(Damage::Torn),
                oldest_ms: (whole > 0).then_some(7),
            };
            assert_eq!(scan(&path, 0).unwrap(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn changed_byte_is_detected() {
        let (_directory, path, bytes) = file_of(&["one", "two"]);
        for position in 4..19 {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let found = scan(&path, 0).unwrap();
            assert_eq!(
                (found.events, found.damage),
                (0, Some(Damage::Corrupt)),
                "changed at {position}"
            );
        }
    }

    #[test]
    fn reading_continues_at_the_end_of_the_last_batch() {
        let (_directory, path, bytes) = file_of(&["one", "two", "three"]);
        let end = bytes.len() as u64;
        let (first, offset) = read(&path, 0, end, 2, 1_000).unwrap();
        assert_eq!(first, [stored("one"), stored("two")]);
        let (rest, last) = read(&path, offset, end, 2, 1_000).unwrap();
        assert_eq!((rest, last), (vec![stored("three")], end));
        let (one, offset) = read(&path, 0, end, 10, 1).unwrap();
        assert_eq!(
            (one, offset),
            (vec![stored("one")], 19),
            "at least one, however small the limit"
        );
        assert_eq!(scan(&path, offset).unwrap().events, 2);
    }
}
