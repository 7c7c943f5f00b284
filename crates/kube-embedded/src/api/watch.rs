//! The verb watch: a stream of changes of a collection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, timeout_at};

use super::read::in_namespace;
use super::{Api, Call, Content, Response, present};
use crate::resources::Resource;
use crate::selector::Selector;
use crate::status::{Cause, Status};
use crate::store::{Change, ChangeKind, Entry};

/// Maximum changes read from the store at once.
const BATCH: usize = 500;
/// Interval of bookmarks on an idle watch that requested them.
const BOOKMARK: Duration = Duration::from_secs(10);
/// The real server ends watches after 30 to 60 minutes when the client sets no timeout.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// One event of a watch.
#[derive(Debug, Clone)]
pub struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub kind: &'static str,
    /// The object as JSON, in the resource's version.
    pub object: Bytes,
    /// The whole line, if the change has cached it.
    pub line: Option<Bytes>,
}

impl Event {
    /// The line to send.
    #[must_use]
    pub fn into_line(self) -> Bytes {
        self.line.unwrap_or_else(|| line(self.kind, &self.object))
    }
}

/// A stream of changes.
#[derive(Debug)]
pub struct Watch {
    resource: Arc<Resource>,
    namespace: String,
    selector: Selector,
    changed: Receiver<u64>,
    revision: u64,
    bookmarks: bool,
    until: Instant,
    waiting: VecDeque<Event>,
    ended: bool,
}

impl Api {
    /// Starts a watch.
    ///
    /// # Errors
    /// 400 for invalid options.
    pub fn watch(&self, call: &Call) -> Result<Response, Status> {
        let query = &call.query;
        let resource = &call.resource;
        let mut fields = query.get("fieldSelector").to_owned();
        if !call.name.is_empty() {
            fields = format!("metadata.name={}", call.name);
        }
        let selector = Selector::parse(query.get("labelSelector"), &fields, resource)?;
        let seconds = query
            .number("timeoutSeconds")?
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|&s| s > 0);
        let bookmarks = query.flag("allowWatchBookmarks");
        if !query.get("sendInitialEvents").is_empty() {
            reject_initial(call)?;
        }
        // Subscribe before the first read, so that no change in between is missed.
        let changed = self.store.subscribe(&resource.table);
        let wanted = query.resource_version()?;
        let mut watch = Watch {
            resource: Arc::clone(resource),
            namespace: call.namespace.clone(),
            selector,
            changed,
            revision: wanted.unwrap_or_default(),
            bookmarks,
            until: Instant::now() + seconds.map_or(LONGEST, Duration::from_secs),
            waiting: VecDeque::new(),
            ended: false,
        };
        if matches!(wanted, None | Some(0)) {
            self.begin(&mut watch);
        }
        Ok(Response {
            code: 200,
            content: Content::Watch(watch),
            warnings: Vec::new(),
        })
    }

    /// Queues the existing objects.
    fn begin(&self, watch: &mut Watch) {
        let snapshot = self.store.snapshot(&watch.resource.table);
        watch.revision = snapshot.revision;
        let entries =
            in_namespace(&snapshot, &watch.namespace, None).filter(|entry| watch.selector.matches(entry));
        let events = entries.map(|entry| Event {
            kind: "ADDED",
            object: present(&watch.resource, entry),
            line: None,
        });
        watch.waiting = events.collect();
    }

    /// Waits for the next events; `None` when the watch has ended.
    pub async fn next_events(&self, watch: &mut Watch) -> Option<Vec<Event>> {
        let mut bookmark_at = Instant::now() + BOOKMARK;
        loop {
            if !watch.waiting.is_empty() {
                return Some(watch.waiting.drain(..).collect());
            }
            if watch.ended || Instant::now() >= watch.until {
                return None;
            }
            watch.changed.mark_unchanged();
            self.collect(watch);
            if !watch.waiting.is_empty() || watch.ended {
                continue;
            }
            let until = watch
                .until
                .min(if watch.bookmarks { bookmark_at } else { watch.until });
            match timeout_at(until, watch.changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => watch.ended = true,
                Err(_) if watch.bookmarks => {
                    bookmark_at = Instant::now() + BOOKMARK;
                    watch.push_bookmark();
                }
                Err(_) => {}
            }
        }
    }

    fn collect(&self, watch: &mut Watch) {
        // The end of the initial state is marked by a bookmark only if nothing happened since.
        let seen = self.store.revision();
        match self.store.changes(&watch.resource.table, watch.revision, BATCH) {
            Ok(changes) => {
                for change in &changes {
                    watch.revision = change.entry.revision;
                    if let Some(event) = watch.event(change) {
                        watch.waiting.push_back(event);
                    }
                }
                if changes.len() < BATCH {
                    watch.revision = watch.revision.max(seen);
                }
            }
            Err(oldest) => {
                let status =
                    Status::expired(format!("too old resource version: {} ({oldest})", watch.revision));
                watch.waiting.push_back(Event {
                    kind: "ERROR",
                    object: status.body().to_string().into(),
                    line: None,
                });
                watch.ended = true;
            }
        }
    }
}

/// The real server that this one follows has this feature disabled, and clients then list and watch.
fn reject_initial(call: &Call) -> Result<(), Status> {
    let mut causes = Vec::new();
    if call.query.get("resourceVersionMatch") != "NotOlderThan" {
        let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        causes.push(Cause::forbidden("resourceVersionMatch", detail));
    }
    let detail = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
    causes.push(Cause::forbidden("sendInitialEvents", detail));
    Err(Status::invalid("meta.k8s.io", "ListOptions", "", causes))
}

impl Watch {
    /// Converts a change for this watch: an object that begins to match is added, one that no longer matches deleted.
    fn event(&self, change: &Change) -> Option<Event> {
        if !self.namespace.is_empty() && *self.namespace != *change.entry.key.namespace {
            return None;
        }
        let is = change.kind != ChangeKind::Deleted && self.selector.matches(&change.entry);
        let was = change
            .previous
            .as_ref()
            .is_some_and(|previous| self.selector.matches(previous));
        let (kind, entry) = match (was, is) {
            (false, false) => return None,
            (false, true) => ("ADDED", &change.entry),
            (true, true) => ("MODIFIED", &change.entry),
            (true, false) => ("DELETED", &change.entry),
        };
        let shared = super::shown_as_stored(&self.resource) && kind == natural(change.kind);
        if shared {
            let line = change.line.get_or_init(|| line(kind, &entry.body)).clone();
            return Some(Event {
                kind,
                object: entry.body.clone(),
                line: Some(line),
            });
        }
        Some(Event {
            kind,
            object: self.gone_or(kind, entry, change),
            line: None,
        })
    }

    /// An object that left the selection is sent in its last selected state, at the version of the change.
    fn gone_or(&self, kind: &str, entry: &Entry, change: &Change) -> Bytes {
        match &change.previous {
            Some(previous) if kind == "DELETED" && change.kind == ChangeKind::Updated => {
                let mut object = super::presented(&self.resource, previous);
                object["metadata"]["resourceVersion"] = entry.revision.to_string().into();
                object.to_string().into()
            }
            _ => present(&self.resource, entry),
        }
    }

    fn push_bookmark(&mut self) {
        let object = json!({
            "kind": self.resource.kind, "apiVersion": self.resource.api_version(),
            "metadata": {"resourceVersion": self.revision.to_string(), "creationTimestamp": Value::Null},
        });
        self.waiting.push_back(Event {
            kind: "BOOKMARK",
            object: object.to_string().into(),
            line: None,
        });
    }
}

fn natural(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Created => "ADDED",
        ChangeKind::Updated => "MODIFIED",
        ChangeKind::Deleted => "DELETED",
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}
