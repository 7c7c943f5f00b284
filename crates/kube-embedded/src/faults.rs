//! Faults on demand: what a client must bear, when a test wants it.
//!
//! `POST /faults` adds one, `GET /faults` lists them with how often each struck, `DELETE /faults` and
//! `DELETE /faults/ID` take them away. Requests to `/faults` itself are never struck.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

/// What happens.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// HTTP method; absent for all. `WATCH` means watches.
    pub method: Option<String>,
    /// Regular expression that the path (without the query) matches somewhere; absent for all.
    pub path: Option<String>,
    /// What happens.
    pub fault: Kind,
    /// Seconds of `Retry-After` with a 429 or 503.
    pub retry_after_seconds: Option<u64>,
    /// Milliseconds of `latency`.
    pub milliseconds: Option<u64>,
    /// Requests that are let through before the first is struck.
    #[serde(default)]
    pub skip: u64,
    /// Requests that are struck; absent for all.
    pub times: Option<u64>,
    /// Milliseconds from now on in which it strikes; absent for ever.
    pub for_milliseconds: Option<u64>,
}

/// The kinds of faults.
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
    /// The answer comes later.
    Latency,
    /// The connection is reset before the answer.
    Reset,
    /// As `reset`, but the request was carried out.
    ResetAfter,
    /// A watch stays open and tells nothing.
    StallWatch,
    /// The port is closed and all connections are cut, for `forMilliseconds`.
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
    struck: u64,
}

/// All faults.
#[derive(Debug)]
pub struct Faults {
    active: Mutex<Vec<Active>>,
    /// How many there are: most servers have none, and then nothing is locked.
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
    /// Adds one and answers its number.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&self, body: &[u8]) -> Result<u64, String> {
        let spec: Spec = serde_json::from_slice(body).map_err(|error| format!("no fault: {error}"))?;
        let path = spec.path.as_deref().map(Regex::new).transpose();
        let path = path.map_err(|error| format!("path is no regular expression: {error}"))?;
        if spec.fault == Kind::Latency && spec.milliseconds.is_none() {
            return Err("latency needs milliseconds".to_owned());
        }
        let until = spec
            .for_milliseconds
            .map(|milliseconds| Instant::now() + Duration::from_millis(milliseconds));
        if spec.fault == Kind::ClosePort {
            let until = until.ok_or("close-port needs forMilliseconds: nothing could open it again")?;
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
            struck: 0,
        });
        self.count.store(active.len() as u64, Ordering::Release);
        self.changed.send_modify(|count| *count += 1);
        Ok(id)
    }

    /// Takes one away, or all; answers how many.
    pub fn remove(&self, id: Option<u64>) -> usize {
        let mut active = self.active.lock();
        let before = active.len();
        active.retain(|fault| id.is_some_and(|id| fault.id != id));
        self.count.store(active.len() as u64, Ordering::Release);
        self.changed.send_modify(|count| *count += 1);
        before - active.len()
    }

    /// All, with how often each struck.
    #[must_use]
    pub fn list(&self) -> Value {
        let active = self.active.lock();
        let faults = active.iter().map(|fault| {
            json!({
                "id": fault.id, "fault": fault.spec.fault.name(), "method": fault.spec.method, "path": fault.spec.path,
                "struck": fault.struck, "over": fault.is_over(),
            })
        });
        json!({"faults": faults.collect::<Vec<_>>()})
    }

    /// The faults that strike a request. Each is counted.
    #[must_use]
    pub fn strike(&self, method: &str, path: &str, is_watch: bool) -> Vec<Spec> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut struck = Vec::new();
        for fault in self.active.lock().iter_mut() {
            if fault.fits(method, path, is_watch) {
                fault.seen += 1;
                if fault.seen > fault.spec.skip {
                    fault.struck += 1;
                    struck.push(fault.spec.clone());
                }
            }
        }
        struck
    }

    /// Whether a watch must be silent now. Counts nothing.
    #[must_use]
    pub fn is_stalled(&self, path: &str) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let active = self.active.lock();
        active
            .iter()
            .any(|fault| fault.spec.fault == Kind::StallWatch && !fault.is_over() && fault.fits_path(path))
    }

    /// Tells when the faults change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Tells when the port is to be closed, and until when.
    #[must_use]
    pub fn closed(&self) -> watch::Receiver<Option<Instant>> {
        self.closed_until.subscribe()
    }
}

impl Active {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
            || self.spec.times.is_some_and(|times| self.struck >= times)
    }

    fn fits_path(&self, path: &str) -> bool {
        self.path.as_ref().is_none_or(|pattern| pattern.is_match(path))
    }

    fn fits(&self, method: &str, path: &str, is_watch: bool) -> bool {
        let of_method = match self.spec.method.as_deref() {
            None => true,
            Some("WATCH") => is_watch,
            Some(wanted) => wanted.eq_ignore_ascii_case(method) && !is_watch,
        };
        let of_kind = !matches!(self.spec.fault, Kind::StallWatch | Kind::ClosePort);
        of_method && of_kind && !self.is_over() && self.fits_path(path)
    }
}

/// Shared by the listener and its connections.
pub type SharedFaults = Arc<Faults>;
