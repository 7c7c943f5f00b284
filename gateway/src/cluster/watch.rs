//! Keeps the index of what is in the cluster up to date.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::watch;

use super::slim::SlimRequest;
use crate::domain::index::Index;

/// Requests that are read at once when all are listed: their payloads are in memory for that moment.
const PAGE: u32 = 250;
/// A watch is begun anew so often, in seconds, so that one whose other end is gone is noticed.
const WATCH_SECONDS: u32 = 60;
/// The waits between tries while the API is away.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A watch without an error for so long runs.
const QUIET: Duration = Duration::from_secs(5);

/// What the watch knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not everything that is in the cluster is known yet.
    Starting {
        /// What the last try met.
        detail: String,
    },
    /// The index is as new as the watch can make it.
    Synced,
    /// It was, and the watch is broken for now.
    Broken {
        /// What the last try met.
        detail: String,
    },
}

/// Feeds `index` for as long as it is polled. Tells of its progress whenever it changes.
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
            // A watch that runs again says so only with its next event, which may be long in coming.
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

/// Puts one event into the index; whether everything in the cluster is known with it.
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
            tracing::info!(requests = index.len(), "the requests in the cluster are known");
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
    tracing::warn!(error = %detail, "the watch of RemediationRequests is broken and is begun again");
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
