//! Recovers the files of an earlier process.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::path::Path;

use anyhow::Context;

use super::super::segment::{self, Damage};
use super::{Pending, Segment, State, cursor};

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
        pending: Pending::default(),
    };
    for number in segment::list(directory)? {
        let path = segment::path(directory, number);
        let offset = if number == cursor_segment {
            cursor_offset
        } else {
            0
        };
        let found = segment::scan(&path, offset).with_context(|| path.display().to_string())?;
        match found.damage {
            None => {}
            Some(Damage::Torn) => {
                tracing::warn!(path = %path.display(), "the last event was written incompletely and was not acknowledged");
            }
            Some(Damage::Corrupt) => {
                tracing::error!(path = %path.display(), at = found.length, "a segment was altered: what follows cannot be read; it is kept as .corrupt");
            }
        }
        if state.segments.is_empty() {
            state.offset = offset.min(found.length);
            state.pending.oldest_ms = found.oldest_ms;
        }
        state.pending.events += found.events;
        state.pending.bytes += found.length;
        state.segments.push_back(Segment {
            number,
            length: found.length,
            waiting: found.events,
            closed: true,
            corrupt: found.damage == Some(Damage::Corrupt),
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
