//! The thread that appends to the newest segment.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::super::segment::{self, Stored};
use super::{Append, Segment, Shared, cursor, lock};

/// The thread that appends.
pub(super) struct Writer {
    shared: Arc<Shared>,
    current: Option<File>,
    /// Events that wait for space.
    memory: VecDeque<Stored>,
    write: Write,
}

/// Events that are written as one block.
const GROUP: usize = 1_024;
/// Approximate maximum size of such a block.
const GROUP_BYTES: usize = 1 << 20;
/// How often writing events from memory to disk is retried.
const AGAIN: Duration = Duration::from_millis(250);

impl Writer {
    /// An empty group.
    pub(super) fn new(shared: Arc<Shared>, write: Write) -> Self {
        Self {
            shared,
            current: None,
            memory: VecDeque::new(),
            write,
        }
    }

    /// Appends until the spool is closed.
    pub(super) fn run(mut self, appends: &Receiver<Append>) {
        loop {
            let first = match appends.recv_timeout(AGAIN) {
                Ok(append) => Some(append),
                Err(RecvTimeoutError::Timeout) if self.memory.is_empty() => continue,
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut waiting = Vec::new();
            for Append { events, done } in first.into_iter().chain(appends.try_iter().take(GROUP)) {
                self.memory.extend(
                    events
                        .into_iter()
                        .filter(|event| is_storable(event, &self.shared)),
                );
                waiting.push(done);
            }
            self.write();
            for done in waiting {
                // The receiver may be gone.
                let _ = done.send(());
            }
        }
        self.write();
        if !self.memory.is_empty() {
            tracing::error!(
                events = self.memory.len(),
                "audit events are lost: the spool is full at the end"
            );
        }
    }

    /// Writes all waiting events to disk, as far as there is space; drops what does not fit into memory.
    fn write(&mut self) {
        let mut trouble = None;
        while !self.memory.is_empty() && trouble.is_none() {
            trouble = self.write_some().err().map(|error| error.to_string());
        }
        let mut state = lock(&self.shared.state);
        let excess = self
            .memory
            .len()
            .saturating_sub(self.shared.settings.memory_events);
        if excess > 0 {
            self.memory.truncate(self.shared.settings.memory_events);
            state.pending.lost += excess as u64;
            let lost = state.pending.lost;
            tracing::error!(events = excess, lost, "audit events are lost: the spool is full");
        }
        // While the disk is full its error changes little: once is enough for the log.
        if trouble.is_some() != state.pending.trouble.is_some() {
            match &trouble {
                Some(trouble) => tracing::error!(%trouble, "audit events wait in memory"),
                None => tracing::info!("the spool has space again"),
            }
        }
        state.pending.in_memory = self.memory.len() as u64;
        state.pending.trouble = trouble;
        self.shared.pending.send_replace(state.pending.clone());
        drop(state);
        self.shared.grown.notify_one();
    }

    /// Appends as many events as fit into the current segment.
    fn write_some(&mut self) -> io::Result<()> {
        let Open {
            number,
            length,
            records,
            used,
        } = self.open_segment()?;
        let settings = &self.shared.settings;
        let mut buffer = Vec::new();
        let mut events = 0;
        for (index, event) in (records..).zip(self.memory.iter().take(GROUP)) {
            let after = used + buffer.len() as u64 + event.size();
            if after > settings.max_bytes || (events > 0 && buffer.len() >= GROUP_BYTES) {
                break;
            }
            event.encode(index, &mut buffer);
            events += 1;
        }
        if events == 0 {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!(
                    "spool.max_bytes = {} are in use and DataStorage is unavailable",
                    settings.max_bytes
                ),
            ));
        }
        let file = self
            .current
            .as_ref()
            .ok_or_else(|| io::Error::other("no segment is open"))?;
        if let Err(error) = (self.write)(file, length, &buffer, settings.fsync) {
            // A partial write must not precede the next record. Cutting it off needs no space; a new file would.
            if file.set_len(length).is_err() {
                self.current = None;
                let mut state = lock(&self.shared.state);
                if let Some(last) = state.segments.back_mut().filter(|last| last.number == number) {
                    last.closed = true;
                }
            }
            return Err(error);
        }
        let oldest = self.memory.front().map(|event| event.time_ms);
        self.memory.drain(..events);
        let mut state = lock(&self.shared.state);
        if let Some(last) = state.segments.back_mut() {
            last.length = length + buffer.len() as u64;
            last.records = records.saturating_add(u32::try_from(events).unwrap_or(u32::MAX));
            last.waiting += events as u64;
        }
        state.pending.bytes += buffer.len() as u64;
        state.pending.events += events as u64;
        state.pending.oldest_ms = state.pending.oldest_ms.or(oldest);
        Ok(())
    }

    /// The segment to append to: the newest, or a new one if that is full.
    fn open_segment(&mut self) -> io::Result<Open> {
        let settings = &self.shared.settings;
        let mut state = lock(&self.shared.state);
        let used = state.pending.bytes;
        let newest = state.segments.back();
        if let Some(last) = newest.filter(|last| !last.closed && last.length < settings.segment_bytes) {
            return Ok(Open {
                number: last.number,
                length: last.length,
                records: last.records,
                used,
            });
        }
        let number = newest.map_or(1, |last| last.number + 1);
        let number = number.max(first_free(&settings.directory)?);
        let path = segment::path(&settings.directory, number);
        self.current = Some(OpenOptions::new().create_new(true).write(true).open(path)?);
        if let Some(last) = state.segments.back_mut() {
            last.closed = true;
        }
        state.segments.push_back(Segment {
            number,
            length: 0,
            records: 0,
            waiting: 0,
            closed: false,
            corrupt: false,
        });
        Ok(Open {
            number,
            length: 0,
            records: 0,
            used,
        })
    }
}

/// The segment to append to.
struct Open {
    number: u64,
    length: u64,
    records: u32,
    /// Bytes of all segments.
    used: u64,
}

fn is_storable(event: &Stored, shared: &Shared) -> bool {
    let bytes = event.text.len();
    let is_storable = bytes <= segment::LONGEST;
    if !is_storable {
        tracing::error!(
            bytes,
            "an audit event is lost: it is longer than the spool allows"
        );
        lock(&shared.state).pending.lost += 1;
    }
    is_storable
}

/// Writes a block at an offset of a segment, to the medium if so configured.
pub(super) type Write = fn(&File, u64, &[u8], bool) -> io::Result<()>;

pub(super) fn write(file: &File, offset: u64, buffer: &[u8], fsync: bool) -> io::Result<()> {
    file.write_all_at(buffer, offset)?;
    if fsync { file.sync_data() } else { Ok(()) }
}

/// Continues the numbers after everything was delivered: a cursor must not point into a new segment.
fn first_free(directory: &Path) -> io::Result<u64> {
    let delivered = cursor::read(&File::open(directory.join("cursor"))?)
        .unwrap_or_default()
        .0;
    let last = segment::list(directory)?.last().copied().unwrap_or_default();
    Ok(last.max(delivered) + 1)
}
