//! Audit events that DataStorage rejected: kept in files until somebody sends them again or drops them.
//!
//! Each is one file in `rejected/` in the spool's folder, named by its event id. To send one again, its file is moved
//! to `retry/`, from where the running service takes it; moving is atomic, so that the command and the service need
//! no lock.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::segment::Stored;
use super::spool::Spool;

/// How often the folders are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Maximum number of events in memory while the disk is full.
const MAX_WAITING: usize = 1_000;
/// Maximum characters of DataStorage's reason.
const MAX_DETAIL: usize = 1_000;
/// Maximum number of events that are taken from `retry/` at once.
const MAX_RETRIED: usize = 1_000;

/// A rejected event, as in its file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When it was rejected.
    pub rejected_at: Timestamp,
    /// DataStorage's reason.
    pub detail: String,
    /// The event as it was sent.
    pub event: Box<RawValue>,
}

/// The fields of an event that are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// The event's id.
    pub event_id: Option<String>,
    /// Its type.
    pub event_type: String,
    /// The name of its request.
    pub correlation_id: String,
}

/// The number of rejected events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Kept in files or in memory.
    pub kept: u64,
    /// Lost since the start because there was no space for them.
    pub lost: u64,
}

/// The files of one spool.
#[derive(Clone, Debug)]
pub struct Folder {
    rejected: PathBuf,
    retry: PathBuf,
}

impl Folder {
    /// The files in the spool's folder `spool`.
    #[must_use]
    pub fn new(spool: &Path) -> Self {
        Self {
            rejected: spool.join("rejected"),
            retry: spool.join("retry"),
        }
    }

    /// The ids and entries of all rejected events, oldest first. Files that cannot be read are left out.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> io::Result<Vec<(String, Entry)>> {
        entries(&self.rejected, usize::MAX)
    }

    /// Sends the event with this id again; returns whether there is one.
    ///
    /// # Errors
    /// The file cannot be moved.
    pub fn retry(&self, id: &str) -> io::Result<bool> {
        fs::create_dir_all(&self.retry)?;
        found(fs::rename(file(&self.rejected, id), file(&self.retry, id)))
    }

    /// Deletes the event with this id; returns whether there is one.
    ///
    /// # Errors
    /// The file cannot be deleted.
    pub fn remove(&self, id: &str) -> io::Result<bool> {
        found(fs::remove_file(file(&self.rejected, id)))
    }

    fn write(&self, id: &str, entry: &Entry) -> io::Result<()> {
        fs::create_dir_all(&self.rejected)?;
        let path = file(&self.rejected, id);
        let unfinished = path.with_extension("tmp");
        let written = serde_json::to_vec(entry)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(&unfinished, text))
            .and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // On a full disk, the next attempt must not find less space.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// Number and bytes of the rejected events.
    fn size(&self) -> (u64, u64) {
        let files = fs::read_dir(&self.rejected).into_iter().flatten().flatten();
        files
            .filter(|file| is_event(&file.path()))
            .filter_map(|file| file.metadata().ok())
            .fold((0, 0), |(number, bytes), file| (number + 1, bytes + file.len()))
    }

    /// Moves events from `retry/` into the spool.
    async fn send_again(&self, spool: &Spool) -> io::Result<()> {
        let entries = entries(&self.retry, MAX_RETRIED)?;
        if entries.is_empty() {
            return Ok(());
        }
        let texts = entries
            .iter()
            .map(|(_, entry)| entry.event.get().as_bytes().to_vec());
        spool.append(texts.collect()).await;
        tracing::info!(events = entries.len(), "rejected audit events are sent again");
        for (id, _) in &entries {
            fs::remove_file(file(&self.retry, id))?;
        }
        Ok(())
    }
}

/// Keeps rejected events; shared.
#[derive(Debug)]
pub struct Rejected {
    folder: Folder,
    max_bytes: u64,
    state: Mutex<State>,
    counts: watch::Sender<Counts>,
}

#[derive(Debug, Default)]
struct State {
    /// Events that wait for space on the disk.
    waiting: VecDeque<(String, Entry)>,
    files: u64,
    bytes: u64,
    lost: u64,
}

impl Rejected {
    /// Keeps events in the spool's folder, at most about `max_bytes` of them.
    #[must_use]
    pub fn new(spool: &Path, max_bytes: u64) -> Self {
        let folder = Folder::new(spool);
        let (files, bytes) = folder.size();
        let counts = Counts { kept: files, lost: 0 };
        let state = State {
            files,
            bytes,
            ..State::default()
        };
        Self {
            folder,
            max_bytes,
            state: Mutex::new(state),
            counts: watch::Sender::new(counts),
        }
    }

    /// The current numbers, and their changes.
    #[must_use]
    pub fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    /// Keeps a rejected event.
    pub fn keep(&self, event: &Stored, detail: &str) {
        let id = id_of(&event.text);
        tracing::error!(
            event_id = id,
            detail,
            "DataStorage rejected an audit event; see `gateway events list`"
        );
        // Every event was written as JSON; damaged ones are found by their checksum.
        let Ok(text) = serde_json::from_slice::<Box<RawValue>>(&event.text) else {
            return;
        };
        let entry = Entry {
            rejected_at: Timestamp::now(),
            detail: detail.chars().take(MAX_DETAIL).collect(),
            event: text,
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.push_back((id, entry));
        self.flush(&mut state);
    }

    /// Writes waiting events to disk.
    fn flush(&self, state: &mut State) {
        while let Some((id, entry)) = state.waiting.front() {
            let size = entry.event.get().len() as u64;
            if state.bytes + size > self.max_bytes {
                let reason = format!("spool.max_rejected_bytes = {} are in use", self.max_bytes);
                if state.waiting.len() <= MAX_WAITING {
                    break;
                }
                state.lose(&reason);
                continue;
            }
            match self.folder.write(id, entry) {
                Ok(()) => {
                    state.files += 1;
                    state.bytes += size;
                    state.waiting.pop_front();
                }
                Err(_) if state.waiting.len() <= MAX_WAITING => break,
                Err(error) => state.lose(&error.to_string()),
            }
        }
        let next = Counts {
            kept: state.files + state.waiting.len() as u64,
            lost: state.lost,
        };
        self.counts.send_if_modified(|known| {
            let changed = *known != next;
            *known = next;
            changed
        });
    }

    /// Watches the folders until it is dropped: events in `retry/` are sent again through `spool`.
    pub async fn run(self: Arc<Self>, spool: Arc<Spool>) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(error) = self.folder.send_again(&spool).await {
                tracing::warn!(%error, "cannot send rejected audit events again");
            }
            self.refresh();
        }
    }

    /// Looks at the files: the command removes some.
    fn refresh(&self) {
        let (files, bytes) = self.folder.size();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.files, state.bytes) = (files, bytes);
        self.flush(&mut state);
    }
}

impl State {
    fn lose(&mut self, reason: &str) {
        if let Some((id, _)) = self.waiting.pop_front() {
            self.lost += 1;
            tracing::error!(
                event_id = id,
                reason,
                lost = self.lost,
                "a rejected audit event is lost"
            );
        }
    }
}

fn file(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.json"))
}

fn is_event(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

fn found(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The entries in a folder, oldest first: parents were rejected before their children.
fn entries(folder: &Path, max: usize) -> io::Result<Vec<(String, Entry)>> {
    let files = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files?,
    };
    let mut entries = Vec::new();
    for file in files {
        let path = file?.path();
        if !is_event(&path) {
            continue;
        }
        let entry = fs::read(&path).and_then(|text| Ok(serde_json::from_slice::<Entry>(&text)?));
        match (entry, path.file_stem().and_then(|stem| stem.to_str())) {
            (Ok(entry), Some(id)) => entries.push((id.to_owned(), entry)),
            _ => tracing::warn!(path = %path.display(), "cannot read a rejected audit event"),
        }
    }
    entries.sort_by_key(|(_, entry)| entry.rejected_at);
    entries.truncate(max);
    Ok(entries)
}

/// The event's id if it can be a file's name, otherwise a hash of the event.
fn id_of(text: &[u8]) -> String {
    let listed: Listed = serde_json::from_slice(text).unwrap_or_default();
    let is_name = |id: &String| {
        !id.is_empty()
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    listed
        .event_id
        .filter(is_name)
        .unwrap_or_else(|| hex::encode(&Sha256::digest(text)[..16]))
}

#[cfg(test)]
mod tests;
