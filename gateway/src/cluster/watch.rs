//! Keeps the index in sync with the cluster.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::watch;

use super::slim::SlimRequest;
use crate::domain::index::Index;

/// Page size of the initial list: whole payloads are in memory for that moment.
const PAGE: u32 = 250;
/// Maximum duration of a watch in seconds, so that a dead connection is noticed.
const WATCH_SECONDS: u32 = 60;
/// Delays between attempts while the API is unavailable.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A watch without an error for this long counts as running.
const QUIET: Duration = Duration::from_secs(5);

/// The state of the watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The initial list is not complete.
    Starting {
        /// The error of the last attempt.
        detail: String,
    },
    /// The index is in sync.
    Synced,
    /// It was in sync, and the watch is broken.
    Broken {
        /// The error of the last attempt.
        detail: String,
    },
}

/// Feeds `index` until it is dropped. Reports each change of its progress.
pub async fn feed(client: Client, index: Arc<Mutex<Index>>, progress: watch::Sender<Progress>) {
    let settings = watcher::Config::default().page_size(PAGE).timeout(WATCH_SECONDS);
    let mut events = std::pin::pin!(watcher::watcher(Api::<SlimRequest>::all(client), settings));
    let mut wait = FIRST_WAIT;
    loop {
        match tokio::time::timeout(QUIET, events.try_next()).await {
            Ok(Ok(Some(event))) => {
                wait = FIRST_WAIT;
                if apply(&index, event) {
                    progress.send_if_modified(|known| replace(known, Progress::Synced));
                }
            }
            Ok(Ok(None)) => return,
            Ok(Err(error)) => {
                progress.send_if_modified(|known| broken(known, error.to_string()));
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            // A running watch is only confirmed by its next event, which may be far off.
            Err(_) => {
                progress.send_if_modified(|known| match known {
                    Progress::Broken { .. } => replace(known, Progress::Synced),
                    Progress::Starting { .. } | Progress::Synced => false,
                });
                index
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .expire(Instant::now());
            }
        }
    }
}

/// Applies one event to the index; returns whether the initial list is complete.
fn apply(index: &Mutex<Index>, event: Event<SlimRequest>) -> bool {
    let mut index = index.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::Init => index.begin_listing(),
        Event::InitApply(request) => {
            if let Some(record) = request.into_record() {
                index.observe_listed(record);
            }
        }
        Event::InitDone => {
            index.end_listing(Instant::now());
            tracing::info!(requests = index.len(), "the index is in sync");
            return true;
        }
        Event::Apply(request) => {
            if let Some(record) = request.into_record() {
                index.observe(record);
            }
            return true;
        }
        Event::Delete(request) => {
            if let Some(record) = request.into_record() {
                index.forget(record.fingerprint, &record.uid, Instant::now());
            }
            return true;
        }
    }
    false
}

fn broken(known: &mut Progress, detail: String) -> bool {
    tracing::warn!(error = %detail, "the watch of RemediationRequests is broken and restarts");
    let next = match known {
        Progress::Starting { .. } => Progress::Starting { detail },
        Progress::Synced | Progress::Broken { .. } => Progress::Broken { detail },
    };
    replace(known, next)
}

fn replace(known: &mut Progress, next: Progress) -> bool {
    let changed = *known != next;
    *known = next;
    changed
}
