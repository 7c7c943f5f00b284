//! Events that wait for DataStorage, on disk.
//!
//! Every event is appended to the newest segment before its signal is acknowledged, so that a killed process loses
//! none: written data stays in the kernel. One thread appends, and writes everything that arrived during the last
//! write as one block. The cursor file has the end of the delivered events; a delivered segment is deleted.
//!
//! The space is bounded. Events that do not fit wait in memory, which is bounded too; events that do not fit there
//! are lost, counted and logged. Stored events are never dropped for newer ones.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot, watch};

use self::writer::Writer;
use super::segment::{self, Stored};

mod cursor;
mod recover;
mod writer;

/// The extension of damaged segments that are kept.
const CORRUPT: &str = "corrupt";
/// How often reading a segment is attempted before it is given up, and the delay between the attempts.
const MAX_READ_ATTEMPTS: u32 = 30;
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Settings of the spool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Settings {
    /// The folder; created if it is missing. For one process at a time.
    pub directory: PathBuf,
    /// Maximum size of all segments in bytes.
    pub max_bytes: u64,
    /// Size in bytes from which a new segment is started.
    pub segment_bytes: u64,
    /// Maximum number of events in memory while the disk is full.
    pub memory_events: usize,
    /// Maximum size of the events that DataStorage rejected in bytes.
    pub max_rejected_bytes: u64,
    /// Whether a signal is acknowledged only when its events would survive a power failure, too.
    pub fsync: bool,
    /// Maximum time to deliver the remaining events at the stop.
    pub flush_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/lib/gateway/spool"),
            max_bytes: 256 << 20,
            segment_bytes: 4 << 20,
            memory_events: 4_096,
            max_rejected_bytes: 64 << 20,
            fsync: false,
            flush_ms: 8_000,
        }
    }
}

/// The current content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Undelivered events.
    pub events: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// When the oldest event was received, in milliseconds since 1970.
    pub oldest_ms: Option<u64>,
    /// Events in memory because the disk is full.
    pub in_memory: u64,
    /// Events lost since the start: disk and memory were full, or their bytes on disk were damaged.
    pub lost: u64,
    /// Damaged segments that are kept in the folder for inspection.
    pub corrupt: u64,
    /// The error of the last write, while it persists.
    pub trouble: Option<String>,
}

/// The spool; shared by all writers.
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
    /// The end of the delivered events in the first segment.
    offset: u64,
    cursor: File,
    pending: Pending,
}

struct Segment {
    number: u64,
    /// The end of the last readable record.
    length: u64,
    /// Number of records written to it.
    records: u32,
    /// Whether it is complete, so that nothing is appended any more.
    closed: bool,
    /// Its undelivered events.
    waiting: u64,
    /// Whether it has damaged bytes, to be kept for inspection.
    corrupt: bool,
}

/// Events to deliver, the oldest first.
#[derive(Debug)]
pub struct Batch {
    /// The events; never empty.
    pub events: Vec<Stored>,
    segment: u64,
    end: u64,
    /// Whether damaged bytes were skipped.
    damaged: bool,
}

impl Spool {
    /// Opens the folder and recovers its content.
    ///
    /// # Errors
    /// The folder cannot be created, read or written, or another process uses it.
    pub fn open(settings: Settings) -> anyhow::Result<Self> {
        Self::open_with(settings, writer::write)
    }

    fn open_with(settings: Settings, write: writer::Write) -> anyhow::Result<Self> {
        let directory = settings.directory.clone();
        let named = |what: &str| format!("spool.directory = {}: {what}", directory.display());
        std::fs::create_dir_all(&directory).with_context(|| named("cannot be created"))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                anyhow::bail!(named("another process uses it; give each process its own folder"))
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| named("cannot be locked")),
        }
        let state = recover::recover(&directory).with_context(|| named("cannot be recovered"))?;
        let pending = watch::Sender::new(state.pending.clone());
        let shared = Arc::new(Shared {
            settings,
            state: Mutex::new(state),
            grown: Notify::new(),
            pending,
        });
        let (appends, received) = std::sync::mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), write);
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

    /// Stores the events. Returns when they are on disk, or in memory or lost because the disk is full.
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

    /// The oldest events, at most `max_events` and about `max_bytes` of them; waits for the first one.
    pub async fn next(&self, max_events: usize, max_bytes: usize) -> Batch {
        let mut attempts = 0;
        loop {
            let grown = self.shared.grown.notified();
            match self
                .shared
                .next(max_events, max_bytes, attempts >= MAX_READ_ATTEMPTS)
            {
                Ok(Some(batch)) => return batch,
                Ok(None) => grown.await,
                Err(error) => {
                    tracing::warn!(%error, "cannot read the spool; retrying");
                    attempts += 1;
                    tokio::time::sleep(READ_AGAIN).await;
                }
            }
        }
    }

    /// Marks a batch as delivered; it is not returned again, even after a restart.
    pub fn delivered(&self, batch: &Batch) {
        self.shared.delivered(batch);
    }

    /// The current content, and its changes.
    #[must_use]
    pub fn pending(&self) -> watch::Receiver<Pending> {
        self.shared.pending.subscribe()
    }

    /// Ends the writing; everything appended before is on disk then. For the end of the process.
    pub fn close(&self) {
        lock(&self.appends).take();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the spool's thread panicked");
        }
    }

    /// The folder.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shared.settings.directory
    }
}

impl Shared {
    /// Reads the oldest events; with `skip`, a segment that cannot be read is given up.
    fn next(&self, max_events: usize, max_bytes: usize, skip: bool) -> std::io::Result<Option<Batch>> {
        loop {
            let (number, offset, end) = {
                let mut state = lock(&self.state);
                state.drop_delivered(&self.settings.directory);
                let Some(first) = state.segments.front().filter(|first| state.offset < first.length) else {
                    return Ok(None);
                };
                (first.number, state.offset, first.length)
            };
            let path = segment::path(&self.settings.directory, number);
            let batch = match segment::read(&path, offset, end, max_events, max_bytes) {
                Ok(part) if part.end > offset => Batch {
                    events: part.records,
                    segment: number,
                    end: part.end,
                    damaged: part.damaged,
                },
                Ok(_) => unreadable(number, end, "it is shorter than before"),
                Err(error) if skip || error.kind() == std::io::ErrorKind::NotFound => {
                    unreadable(number, end, &error.to_string())
                }
                // Such as too many open files.
                Err(error) => return Err(error),
            };
            if batch.events.is_empty() {
                // Damaged bytes must not block what follows them.
                self.delivered(&batch);
            } else {
                return Ok(Some(batch));
            }
        }
    }

    fn delivered(&self, batch: &Batch) {
        let mut state = lock(&self.state);
        let Some(first) = state
            .segments
            .front_mut()
            .filter(|first| first.number == batch.segment)
        else {
            return;
        };
        first.corrupt |= batch.damaged;
        first.waiting = first.waiting.saturating_sub(batch.events.len() as u64);
        // At the end of what was written, nothing can follow what was not found.
        let lost = if batch.end >= first.length {
            std::mem::take(&mut first.waiting)
        } else {
            0
        };
        if lost > 0 {
            tracing::error!(
                segment = batch.segment,
                lost,
                "audit events are lost: their bytes in the spool are damaged"
            );
        }
        state.offset = batch.end;
        let count = batch.events.len() as u64 + lost;
        state.pending.lost += lost;
        state.pending.events = state.pending.events.saturating_sub(count);
        // Until the next batch is read its first event's time is unknown; it is no older than the last delivered one.
        let last = batch.events.last().map(|event| event.time_ms);
        state.pending.oldest_ms = if state.pending.events == 0 { None } else { last };
        if let Err(error) = cursor::write(&state.cursor, batch.segment, batch.end) {
            tracing::warn!(%error, "cannot write the spool's cursor; after a restart events are delivered again");
        }
        state.drop_delivered(&self.settings.directory);
        self.pending.send_replace(state.pending.clone());
    }
}

/// A batch that skips the rest of a segment that cannot be read.
fn unreadable(segment: u64, end: u64, reason: &str) -> Batch {
    tracing::error!(segment, reason, "a segment of the spool cannot be read");
    Batch {
        events: Vec::new(),
        segment,
        end,
        damaged: true,
    }
}

impl State {
    /// Deletes delivered segments that are complete.
    fn drop_delivered(&mut self, directory: &Path) {
        while let Some(first) = self.segments.front() {
            if !first.closed || self.offset < first.length {
                return;
            }
            let path = segment::path(directory, first.number);
            let result = if first.corrupt {
                self.pending.corrupt += 1;
                std::fs::rename(&path, path.with_extension(CORRUPT))
            } else {
                std::fs::remove_file(&path)
            };
            if let Err(error) = result {
                tracing::warn!(%error, path = %path.display(), "cannot remove a delivered segment");
            }
            self.pending.bytes = self.pending.bytes.saturating_sub(first.length);
            self.segments.pop_front();
            self.offset = 0;
        }
    }
}

/// The current time in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
