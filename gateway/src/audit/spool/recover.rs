//! Recovers the files of an earlier process.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::path::Path;

use super::super::segment;
use super::{CORRUPT, Pending, Segment, State, cursor};

/// Recovers the files of an earlier process.
pub(super) fn recover(directory: &Path) -> anyhow::Result<State> {
    let path = directory.join("cursor");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)?;
    let (cursor_segment, cursor_offset) = cursor::read(&file).unwrap_or_default();
    let mut state = State {
        segments: VecDeque::new(),
        offset: 0,
        cursor: file,
        pending: Pending {
            corrupt: corrupt(directory)?,
            ..Pending::default()
        },
    };
    for number in segment::list(directory)? {
        let path = segment::path(directory, number);
        let offset = if number == cursor_segment {
            cursor_offset
        } else {
            0
        };
        let found = segment::scan(&path, offset).unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "a segment of the spool cannot be read");
            segment::Scan {
                lost: 1,
                corrupt: true,
                ..segment::Scan::default()
            }
        });
        if found.torn {
            tracing::warn!(path = %path.display(), "the last event is incomplete; it was not acknowledged");
        }
        if found.corrupt {
            let lost = found.lost;
            tracing::error!(path = %path.display(), lost, "a segment of the spool has damaged bytes; it is kept as .corrupt");
        }
        if state.segments.is_empty() {
            state.offset = offset.min(found.length);
            state.pending.oldest_ms = found.oldest_ms;
        }
        state.pending.events += found.events;
        state.pending.lost += found.lost;
        state.pending.bytes += found.length;
        state.segments.push_back(Segment {
            number,
            length: found.length,
            records: 0,
            waiting: found.events,
            closed: true,
            corrupt: found.corrupt,
        });
    }
    state.drop_delivered(directory);
    if state.pending.events > 0 {
        tracing::info!(
            events = state.pending.events,
            "delivering audit events of an earlier process"
        );
    }
    Ok(state)
}

/// Number of damaged segments that were kept.
fn corrupt(directory: &Path) -> std::io::Result<u64> {
    let mut number = 0;
    for entry in std::fs::read_dir(directory)? {
        let is_corrupt = entry?
            .path()
            .extension()
            .is_some_and(|extension| extension == CORRUPT);
        number += u64::from(is_corrupt);
    }
    Ok(number)
}
