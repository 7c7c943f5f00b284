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
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot, watch};

use self::writer::Writer;
use super::segment::{self, Stored};

mod cursor;
mod recover;
mod writer;

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
    /// Events of it that were not delivered.
    waiting: u64,
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
        let state = recover::recover(&directory).with_context(|| named("can't be taken up"))?;
        let pending = watch::Sender::new(state.pending.clone());
        let shared = Arc::new(Shared {
            settings,
            state: Mutex::new(state),
            grown: Notify::new(),
            pending,
        });
        let (appends, received) = std::sync::mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared));
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
    pub async fn next(&self, most_events: usize, most_bytes: usize) -> Batch {
        loop {
            let grown = self.shared.grown.notified();
            if let Some(batch) = self.shared.next(most_events, most_bytes) {
                return batch;
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
    fn next(&self, most_events: usize, most_bytes: usize) -> Option<Batch> {
        loop {
            let (number, offset, end) = {
                let mut state = lock(&self.state);
                state.drop_delivered(&self.settings.directory);
                let first = state.segments.front()?;
                if state.offset >= first.length {
                    return None;
                }
                (first.number, state.offset, first.length)
            };
            let path = segment::path(&self.settings.directory, number);
            match segment::read(&path, offset, end, most_events, most_bytes) {
                Ok((events, end)) if !events.is_empty() => {
                    return Some(Batch {
                        events,
                        segment: number,
                        end,
                    });
                }
                Ok(_) => self.give_up(number, "it is shorter than it was"),
                Err(error) => self.give_up(number, &error.to_string()),
            }
        }
    }

    /// What can't be read must not stop what comes after it.
    fn give_up(&self, number: u64, reason: &str) {
        let mut state = lock(&self.state);
        let offset = state.offset;
        let Some(first) = state.segments.front_mut().filter(|first| first.number == number) else {
            return;
        };
        let lost = std::mem::take(&mut first.waiting);
        first.length = offset;
        first.closed = true;
        first.corrupt = true;
        tracing::error!(
            segment = number,
            reason,
            lost,
            "a segment can't be read; it is kept as .corrupt"
        );
        state.pending.events = state.pending.events.saturating_sub(lost);
        state.pending.lost += lost;
        state.drop_delivered(&self.settings.directory);
        self.pending.send_replace(state.pending.clone());
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
        if let Some(first) = state.segments.front_mut() {
            first.waiting = first.waiting.saturating_sub(count);
        }
        state.pending.events = state.pending.events.saturating_sub(count);
        // Until the next batch is read its first event's time is not known; it is no older than the last delivered.
        let last = batch.events.last().map(|event| event.time_ms);
        state.pending.oldest_ms = if state.pending.events == 0 { None } else { last };
        if let Err(error) = cursor::write(&state.cursor, batch.segment, batch.end) {
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
