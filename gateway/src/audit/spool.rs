//! Events that wait for DataStorage, on disk.
//!
//! Every event is appended to the newest segment before its signal is answered, so that a killed process loses none:
//! what was written is the system's. One thread appends, and writes all that came while it wrote before as one. The
//! cursor file says up to where events were delivered; a segment that was delivered is deleted.
//!
//! The space is bounded. What finds no room waits in memory, bounded too, for room to be made; what finds no room
//! there is lost, loudly. What was kept already is never given up for something newer.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot, watch};

use super::segment::{self, Damage, Stored};

/// How the spool keeps events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The folder; made if it is not there. One process at a time.
    pub directory: PathBuf,
    /// The size of all segments that is not exceeded.
    pub max_bytes: u64,
    /// The size from which on a new segment is begun.
    pub segment_bytes: u64,
    /// How many events wait in memory when there is no room on disk.
    pub memory_events: usize,
    /// Whether a signal is answered only when its events would survive a loss of power, too.
    pub fsync: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/lib/gateway/spool"),
            max_bytes: 256 << 20,
            segment_bytes: 4 << 20,
            memory_events: 4_096,
            fsync: false,
        }
    }
}

/// What waits now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Events that were not delivered yet.
    pub events: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// When the oldest of the events was taken, in milliseconds since 1970.
    pub oldest_ms: Option<u64>,
    /// Events in memory because the disk has no room.
    pub in_memory: u64,
    /// Events lost since the start because there was room nowhere.
    pub lost: u64,
    /// What the last write met, while it goes on.
    pub trouble: Option<String>,
}

/// The spool; all who append share it.
pub struct Spool {
    appends: Mutex<Option<Sender<Append>>>,
    shared: Arc<Shared>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    _lock: File,
}

struct Append {
    events: Vec<Stored>,
    done: oneshot::Sender<()>,
}

struct Shared {
    settings: Settings,
    state: Mutex<State>,
    grown: Notify,
    pending: watch::Sender<Pending>,
}

struct State {
    segments: VecDeque<Segment>,
    /// Up to where the first segment was delivered.
    offset: u64,
    cursor: File,
    pending: Pending,
}

struct Segment {
    number: u64,
    /// The end of the last record that is whole.
    length: u64,
    /// Whether nothing is appended to it any more.
    closed: bool,
    /// Whether something unreadable stands after its records, to be kept for people to look at.
    corrupt: bool,
}

/// Events to be delivered, the oldest first.
#[derive(Debug)]
pub struct Batch {
    /// The events; never none.
    pub events: Vec<Stored>,
    segment: u64,
    end: u64,
}

impl Spool {
    /// Opens the folder and takes up what is in it.
    ///
    /// # Errors
    /// The folder can't be made, read or written, or another process has it.
    pub fn open(settings: Settings) -> anyhow::Result<Self> {
        let directory = settings.directory.clone();
        let named = |what: &str| format!("spool.directory = {}: {what}", directory.display());
        std::fs::create_dir_all(&directory).with_context(|| named("can't be made"))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                anyhow::bail!(named("another process has it; give each its own"))
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| named("can't be locked")),
        }
        let state = recover(&directory).with_context(|| named("can't be taken up"))?;
        let pending = watch::Sender::new(state.pending.clone());
        let shared = Arc::new(Shared {
            settings,
            state: Mutex::new(state),
            grown: Notify::new(),
            pending,
        });
        let (appends, received) = std::sync::mpsc::channel();
        let writer = Writer {
            shared: Arc::clone(&shared),
            current: None,
            memory: VecDeque::new(),
        };
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || writer.run(&received))?;
        Ok(Self {
            appends: Mutex::new(Some(appends)),
            shared,
            thread: Mutex::new(Some(thread)),
            _lock: lock,
        })
    }

    /// Keeps the events. Returns when they are on disk, or when they are in memory or lost for want of room.
    pub async fn append(&self, texts: Vec<Vec<u8>>) {
        let time_ms = now_ms();
        let events = texts.into_iter().map(|text| Stored { time_ms, text }).collect();
        let (done, kept) = oneshot::channel();
        if let Some(appends) = lock(&self.appends).as_ref() {
            // The thread ends only after this sender is gone.
            let _ = appends.send(Append { events, done });
        }
        let _ = kept.await;
    }

    /// The oldest events, at most `most_events` and about `most_bytes` of them; waits until there is one.
    ///
    /// # Errors
    /// A segment can't be read.
    pub async fn next(&self, most_events: usize, most_bytes: usize) -> io::Result<Batch> {
        loop {
            let grown = self.shared.grown.notified();
            if let Some(batch) = self.shared.next(most_events, most_bytes)? {
                return Ok(batch);
            }
            grown.await;
        }
    }

    /// The batch was delivered; it is not handed out again, also not after a restart.
    pub fn delivered(&self, batch: &Batch) {
        self.shared.delivered(batch);
    }

    /// What waits now, and when that changes.
    #[must_use]
    pub fn pending(&self) -> watch::Receiver<Pending> {
        self.shared.pending.subscribe()
    }

    /// Ends the writing; what was appended before is on disk then. For the end of the process.
    pub fn close(&self) {
        lock(&self.appends).take();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the spool's thread ended with a panic");
        }
    }

    /// The folder.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shared.settings.directory
    }
}

impl Shared {
    fn next(&self, most_events: usize, most_bytes: usize) -> io::Result<Option<Batch>> {
        loop {
            let (number, offset, end) = {
                let mut state = lock(&self.state);
                state.drop_delivered(&self.settings.directory);
                let Some(first) = state.segments.front() else {
                    return Ok(None);
                };
                if state.offset >= first.length {
                    return Ok(None);
                }
                (first.number, state.offset, first.length)
            };
            let path = segment::path(&self.settings.directory, number);
            let (events, end) = segment::read(&path, offset, end, most_events, most_bytes)?;
            if !events.is_empty() {
                return Ok(Some(Batch {
                    events,
                    segment: number,
                    end,
                }));
            }
        }
    }

    fn delivered(&self, batch: &Batch) {
        let mut state = lock(&self.state);
        if state
            .segments
            .front()
            .is_none_or(|first| first.number != batch.segment)
        {
            return;
        }
        state.offset = batch.end;
        let count = batch.events.len() as u64;
        state.pending.events = state.pending.events.saturating_sub(count);
        // Until the next batch is read its first event's time is not known; it is no older than the last delivered.
        let last = batch.events.last().map(|event| event.time_ms);
        state.pending.oldest_ms = if state.pending.events == 0 { None } else { last };
        let cursor = encode_cursor(batch.segment, batch.end);
        if let Err(error) = state.cursor.write_all_at(&cursor, 0) {
            tracing::warn!(%error, "the spool's cursor can't be written; after a restart events are delivered again");
        }
        state.drop_delivered(&self.settings.directory);
        self.pending.send_replace(state.pending.clone());
    }
}

impl State {
    /// Deletes segments that were delivered and are not written any more.
    fn drop_delivered(&mut self, directory: &Path) {
        while let Some(first) = self.segments.front() {
            if !first.closed || self.offset < first.length {
                return;
            }
            let path = segment::path(directory, first.number);
            let result = if first.corrupt {
                std::fs::rename(&path, path.with_extension("corrupt"))
            } else {
                std::fs::remove_file(&path)
            };
            if let Err(error) = result {
                tracing::warn!(%error, path = %path.display(), "a delivered segment can't be removed");
            }
            self.pending.bytes = self.pending.bytes.saturating_sub(first.length);
            self.segments.pop_front();
            self.offset = 0;
        }
    }
}

/// Takes up what an earlier process left.
fn recover(directory: &Path) -> anyhow::Result<State> {
    let cursor = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(directory.join("cursor"))?;
    let mut written = [0; 20];
    let (cursor_segment, cursor_offset) = cursor
        .read_exact_at(&mut written, 0)
        .ok()
        .and_then(|()| decode_cursor(&written))
        .unwrap_or_default();
    let mut state = State {
        segments: VecDeque::new(),
        offset: 0,
        cursor,
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
                tracing::warn!(path = %path.display(), "the last event was not written whole and was not acknowledged");
            }
            Some(Damage::Corrupt) => {
                tracing::error!(path = %path.display(), at = found.length, "a segment was altered: what follows can't be read; it is kept as .corrupt");
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
            closed: true,
            corrupt: found.damage == Some(Damage::Corrupt),
        });
    }
    state.drop_delivered(directory);
    if state.pending.events > 0 {
        tracing::info!(
            events = state.pending.events,
            "audit events of an earlier process are delivered now"
        );
    }
    Ok(state)
}

/// The thread that appends.
struct Writer {
    shared: Arc<Shared>,
    current: Option<File>,
    /// What waits for room.
    memory: VecDeque<Stored>,
}

/// Events that are written as one.
const GROUP: usize = 1_024;
/// How often it is tried to get what waits in memory onto the disk.
const AGAIN: Duration = Duration::from_millis(250);

impl Writer {
    fn run(mut self, appends: &Receiver<Append>) {
        loop {
            let first = match appends.recv_timeout(AGAIN) {
                Ok(append) => Some(append),
                Err(RecvTimeoutError::Timeout) if self.memory.is_empty() => continue,
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut waiting = Vec::new();
            for Append { events, done } in first.into_iter().chain(appends.try_iter().take(GROUP)) {
                self.memory.extend(events);
                waiting.push(done);
            }
            self.write();
            for done in waiting {
                // Who no longer waits is not told.
                let _ = done.send(());
            }
        }
        self.write();
        if !self.memory.is_empty() {
            tracing::error!(
                events = self.memory.len(),
                "audit events are lost: the spool has no room at the end"
            );
        }
    }

    /// Gets all that waits onto the disk, or as much as there is room for; gives up what the memory can't hold.
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
            tracing::error!(
                events = excess,
                lost,
                "audit events are lost: the spool has no room"
            );
        }
        if trouble != state.pending.trouble {
            match &trouble {
                Some(trouble) => tracing::error!(%trouble, "audit events wait in memory"),
                None => tracing::info!("the spool has room again"),
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
        let settings = &self.shared.settings;
        let (number, length, used) = {
            let mut state = lock(&self.shared.state);
            let open = state
                .segments
                .back()
                .filter(|last| !last.closed && last.length < settings.segment_bytes);
            match open.map(|last| (last.number, last.length)) {
                Some((number, length)) => (number, length, state.pending.bytes),
                None => {
                    let number = state.segments.back().map_or(1, |last| last.number + 1);
                    let number = number.max(first_free(&settings.directory)?);
                    let path = segment::path(&settings.directory, number);
                    self.current = Some(OpenOptions::new().create_new(true).write(true).open(path)?);
                    if let Some(last) = state.segments.back_mut() {
                        last.closed = true;
                    }
                    state.segments.push_back(Segment {
                        number,
                        length: 0,
                        closed: false,
                        corrupt: false,
                    });
                    (number, 0, state.pending.bytes)
                }
            }
        };
        let mut buffer = Vec::new();
        let mut events = 0;
        for event in self.memory.iter().take(GROUP) {
            let after = used + buffer.len() as u64 + event.size();
            if after > settings.max_bytes {
                break;
            }
            event.encode(&mut buffer);
            events += 1;
        }
        if events == 0 {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!(
                    "spool.max_bytes = {} are in use and DataStorage takes no events",
                    settings.max_bytes
                ),
            ));
        }
        let file = self
            .current
            .as_mut()
            .ok_or_else(|| io::Error::other("no segment is open"))?;
        if let Err(error) = append(file, &buffer, settings.fsync) {
            // What was written of it must not stand before the next record.
            self.current = None;
            let mut state = lock(&self.shared.state);
            if let Some(last) = state.segments.back_mut().filter(|last| last.number == number) {
                last.closed = true;
            }
            return Err(error);
        }
        let oldest = self.memory.front().map(|event| event.time_ms);
        self.memory.drain(..events);
        let mut state = lock(&self.shared.state);
        if let Some(last) = state.segments.back_mut() {
            last.length = length + buffer.len() as u64;
        }
        state.pending.bytes += buffer.len() as u64;
        state.pending.events += events as u64;
        state.pending.oldest_ms = state.pending.oldest_ms.or(oldest);
        Ok(())
    }
}

fn append(file: &mut File, buffer: &[u8], fsync: bool) -> io::Result<()> {
    file.write_all(buffer)?;
    if fsync { file.sync_data() } else { Ok(()) }
}

/// After everything was delivered the numbers go on: a cursor must not point into a new segment of an old number.
fn first_free(directory: &Path) -> io::Result<u64> {
    let mut written = [0; 20];
    let cursor = File::open(directory.join("cursor"))
        .and_then(|file| file.read_exact_at(&mut written, 0))
        .ok()
        .and_then(|()| decode_cursor(&written));
    let last = segment::list(directory)?.last().copied().unwrap_or_default();
    Ok(last.max(cursor.unwrap_or_default().0) + 1)
}

fn encode_cursor(segment: u64, offset: u64) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&segment.to_le_bytes());
    bytes[8..16].copy_from_slice(&offset.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode_cursor(bytes: &[u8; 20]) -> Option<(u64, u64)> {
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

/// The time in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
