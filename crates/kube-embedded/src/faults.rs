//! Fault injection for tests of clients.
//!
//! `POST /faults` adds a fault, `GET /faults` lists them with the number of affected requests, `DELETE /faults` and
//! `DELETE /faults/ID` remove them. Requests to `/faults` are never affected.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

/// A fault.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// HTTP method; absent for all. `WATCH` selects watches.
    pub method: Option<String>,
    /// Regular expression to search in the path (without the query); absent for all.
    pub path: Option<String>,
    /// The effect.
    pub fault: Kind,
    /// Seconds of `Retry-After` with a 429 or 503.
    pub retry_after_seconds: Option<u64>,
    /// Milliseconds of `latency`.
    pub milliseconds: Option<u64>,
    /// Number of matching requests to skip.
    #[serde(default)]
    pub skip: u64,
    /// Number of requests to affect; absent for all.
    pub times: Option<u64>,
    /// Duration of the fault in milliseconds; absent for unlimited.
    pub for_milliseconds: Option<u64>,
}

/// The effects.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// 429 with Retry-After.
    TooManyRequests,
    /// 500.
    InternalError,
    /// 503, with Retry-After if given.
    Unavailable,
    /// 409 of a stale resourceVersion.
    Conflict,
    /// Delays the response.
    Latency,
    /// Resets the connection before the request is executed.
    Reset,
    /// Resets the connection after the request was executed.
    ResetAfter,
    /// Keeps a watch open without sending events.
    StallWatch,
    /// Closes the port and all connections for `forMilliseconds`.
    ClosePort,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::TooManyRequests => "too-many-requests",
            Self::InternalError => "internal-error",
            Self::Unavailable => "unavailable",
            Self::Conflict => "conflict",
            Self::Latency => "latency",
            Self::Reset => "reset",
            Self::ResetAfter => "reset-after",
            Self::StallWatch => "stall-watch",
            Self::ClosePort => "close-port",
        }
    }
}

#[derive(Debug)]
struct Active {
    id: u64,
    spec: Spec,
    path: Option<Regex>,
    until: Option<Instant>,
    seen: u64,
    affected: u64,
}

/// All faults.
#[derive(Debug)]
pub struct Faults {
    active: Mutex<Vec<Active>>,
    /// Their number: most servers have none, and then no lock is taken.
    count: AtomicU64,
    last_id: AtomicU64,
    closed_until: watch::Sender<Option<Instant>>,
    changed: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            active: Mutex::default(),
            count: AtomicU64::new(0),
            last_id: AtomicU64::new(0),
            closed_until: watch::Sender::new(None),
            changed: watch::Sender::new(0),
        }
    }
}

impl Faults {
    /// Adds a fault and returns its id.
    ///
    /// # Errors
    /// The description of the error.
    pub fn add(&self, body: &[u8]) -> Result<u64, String> {
        let spec: Spec = serde_json::from_slice(body).map_err(|error| format!("invalid fault: {error}"))?;
        let path = spec.path.as_deref().map(Regex::new).transpose();
        let path = path.map_err(|error| format!("path is not a regular expression: {error}"))?;
        if spec.fault == Kind::Latency && spec.milliseconds.is_none() {
            return Err("latency requires milliseconds".to_owned());
        }
        let until = spec
            .for_milliseconds
            .map(|milliseconds| Instant::now() + Duration::from_millis(milliseconds));
        if spec.fault == Kind::ClosePort {
            let until = until
                .ok_or("close-port requires forMilliseconds: otherwise the port could never open again")?;
            self.closed_until.send_replace(Some(until));
        }
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::info!(id, ?spec, "fault");
        let mut active = self.active.lock();
        active.push(Active {
            id,
            spec,
            path,
            until,
            seen: 0,
            affected: 0,
        });
        self.count.store(active.len() as u64, Ordering::Release);
        self.changed.send_modify(|count| *count += 1);
        Ok(id)
    }

    /// Removes one fault, or all; returns their number.
    pub fn remove(&self, id: Option<u64>) -> usize {
        let mut active = self.active.lock();
        let before = active.len();
        active.retain(|fault| id.is_some_and(|id| fault.id != id));
        self.count.store(active.len() as u64, Ordering::Release);
        self.changed.send_modify(|count| *count += 1);
        before - active.len()
    }

    /// Lists all faults with the number of affected requests.
    #[must_use]
    pub fn list(&self) -> Value {
        let active = self.active.lock();
        let faults = active.iter().map(|fault| {
            json!({
                "id": fault.id, "fault": fault.spec.fault.name(), "method": fault.spec.method, "path": fault.spec.path,
                "affected": fault.affected, "finished": fault.is_finished(),
            })
        });
        json!({"faults": faults.collect::<Vec<_>>()})
    }

    /// Returns and counts the faults that affect a request.
    #[must_use]
    pub fn affecting(&self, method: &str, path: &str, is_watch: bool) -> Vec<Spec> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut affecting = Vec::new();
        for fault in self.active.lock().iter_mut() {
            if fault.matches(method, path, is_watch) {
                fault.seen += 1;
                if fault.seen > fault.spec.skip {
                    fault.affected += 1;
                    affecting.push(fault.spec.clone());
                }
            }
        }
        affecting
    }

    /// Whether a watch is stalled now. Counts nothing.
    #[must_use]
    pub fn is_stalled(&self, path: &str) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let active = self.active.lock();
        active.iter().any(|fault| {
            fault.spec.fault == Kind::StallWatch && !fault.is_finished() && fault.matches_path(path)
        })
    }

    /// Notifies of changes to the faults.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether a fault closes the port now, although the listener may not have stopped yet.
    #[must_use]
    pub fn is_port_closed(&self) -> bool {
        self.closed_until
            .borrow()
            .is_some_and(|until| Instant::now() < until)
    }

    /// Notifies of the port's closing, with the time of its opening.
    #[must_use]
    pub fn closed(&self) -> watch::Receiver<Option<Instant>> {
        self.closed_until.subscribe()
    }
}

impl Active {
    fn is_finished(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
            || self.spec.times.is_some_and(|times| self.affected >= times)
    }

    fn matches_path(&self, path: &str) -> bool {
        self.path.as_ref().is_none_or(|pattern| pattern.is_match(path))
    }

    fn matches(&self, method: &str, path: &str, is_watch: bool) -> bool {
        let of_method = match self.spec.method.as_deref() {
            None => true,
            Some("WATCH") => is_watch,
            Some(other) => other.eq_ignore_ascii_case(method) && !is_watch,
        };
        let of_kind = !matches!(self.spec.fault, Kind::StallWatch | Kind::ClosePort);
        of_method && of_kind && !self.is_finished() && self.matches_path(path)
    }
}

/// Shared by the listener and its connections.
pub type SharedFaults = Arc<Faults>;
