//! Keeps the index in sync with the cluster: a list of all requests, then a watch of their changes.
//!
//! Requests have payloads of hundreds of kilobytes. A list is therefore parsed while it arrives, one object at a time,
//! and an object that cannot be read is skipped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use kube::Resource;
use kube::api::{ListParams, WatchParams};
use kube::client::{Body, Client};
use kube::core::Status;
use kube::core::request::Request as RequestBuilder;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::timeout;
use wire::remediation_request::RemediationRequest;

use super::Writer;
use super::list::{self, Page};
use super::slim;
use crate::domain::index::Index;

/// Objects per page of the list; the API server holds a page in memory, the Gateway does not.
const PAGE: u32 = 500;
/// Maximum duration of a watch in seconds, so that a dead connection is noticed.
const WATCH_SECONDS: u32 = 60;
/// Maximum time to the next bytes of a list, or to the beginning of a response.
const SILENCE: Duration = Duration::from_secs(15);
/// Maximum time of a watch; a proxy may keep a connection open whose server is gone.
const WATCH_DEADLINE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);
/// Maximum length of one event of a watch; the API server itself rejects objects above 3 MiB.
const LONGEST_LINE: usize = 8 << 20;
/// Maximum length of an error response.
const LONGEST_ERROR: usize = 64 << 10;
/// Delays between attempts while the API is unavailable.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

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

/// Feeds `index` of the process `writer` until it is dropped. Reports each change of its progress.
pub async fn feed(
    client: Client,
    writer: Writer,
    index: Arc<Mutex<Index>>,
    progress: watch::Sender<Progress>,
) {
    let feed = Feed {
        client,
        writer,
        index,
        progress,
    };
    let mut wait = FIRST_WAIT;
    let mut version = String::new();
    loop {
        let begun = Instant::now();
        let result = if version.is_empty() {
            feed.list().await.map(|listed| version = listed)
        } else {
            feed.watch(&mut version).await
        };
        match result {
            Ok(()) => wait = FIRST_WAIT,
            Err(error) => feed.broken(format!("{error:#}")),
        }
        // A server that ends each watch at once must not be flooded, either.
        if begun.elapsed() < FIRST_WAIT || feed.is_broken() {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

struct Feed {
    client: Client,
    writer: Writer,
    index: Arc<Mutex<Index>>,
    progress: watch::Sender<Progress>,
}

impl Feed {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists all requests; returns the version of the list.
    async fn list(&self) -> anyhow::Result<String> {
        self.index().begin_listing();
        let mut parameters = ListParams::default().limit(PAGE);
        loop {
            let request = requests().list(&parameters)?;
            let body = self
                .send(request)
                .await
                .context("cannot list RemediationRequests")?;
            let (index, writer) = (Arc::clone(&self.index), self.writer.clone());
            let observe = move |object: &RawValue| match slim::record(object.get().as_bytes(), &writer) {
                Ok(record) => index
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .observe_listed(record),
                Err(error) => tracing::warn!(%error, "a RemediationRequest is skipped"),
            };
            let Page { version, next } = list::read(body, SILENCE, observe).await?;
            if let Some(next) = next {
                parameters.continue_token = Some(next);
                continue;
            }
            self.index().end_listing();
            tracing::info!(requests = self.index().len(), "the index is in sync");
            self.progress
                .send_if_modified(|known| replace(known, Progress::Synced));
            return Ok(version);
        }
    }

    /// Applies changes since `version` until the watch ends, and keeps `version` up to date; clears it when the API
    /// server does not know it any more.
    async fn watch(&self, version: &mut String) -> anyhow::Result<()> {
        let parameters = WatchParams::default().timeout(WATCH_SECONDS);
        let request = requests().watch(&parameters, version)?;
        let body = match self.send(request).await {
            Err(error) if is_expired(&error) => {
                version.clear();
                return Ok(());
            }
            body => body.context("cannot watch RemediationRequests")?,
        };
        self.progress
            .send_if_modified(|known| replace(known, Progress::Synced));
        match timeout(WATCH_DEADLINE, self.follow(body, version)).await {
            Ok(result) => result,
            Err(_) => Ok(()),
        }
    }

    /// Applies events to the end of the response.
    async fn follow(&self, mut body: Body, version: &mut String) -> anyhow::Result<()> {
        let mut buffer = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.context("the watch broke off")?.into_data() else {
                continue;
            };
            let searched = buffer.len();
            buffer.extend_from_slice(&data);
            let mut start = 0;
            while let Some(end) = buffer[start.max(searched)..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let end = start.max(searched) + end;
                self.apply(&buffer[start..end], version)?;
                if version.is_empty() {
                    return Ok(());
                }
                start = end + 1;
            }
            buffer.drain(..start);
            ensure!(
                buffer.len() <= LONGEST_LINE,
                "an event is longer than {LONGEST_LINE} bytes"
            );
        }
        Ok(())
    }

    /// Applies one event.
    fn apply(&self, line: &[u8], version: &mut String) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        struct Event<'a> {
            r#type: &'a str,
            #[serde(borrow)]
            object: &'a RawValue,
        }
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let Ok(Event { r#type, object }) = serde_json::from_slice(line) else {
            anyhow::bail!("an event of the watch is not JSON");
        };
        let object = object.get().as_bytes();
        if r#type == "ERROR" {
            let status: Status = serde_json::from_slice(object).unwrap_or_default();
            ensure!(
                status.code == StatusCode::GONE.as_u16(),
                "the watch ended with {} {}",
                status.code,
                status.reason
            );
            version.clear();
            return Ok(());
        }
        if r#type != "BOOKMARK" {
            match slim::record(object, &self.writer) {
                Ok(record) if r#type == "DELETED" => {
                    self.index().forget(record.fingerprint, &record.uid);
                }
                Ok(record) => self.index().observe(record),
                Err(error) => tracing::warn!(%error, "a RemediationRequest is skipped"),
            }
        }
        if let Some(next) = list::version_of(object) {
            *version = next;
        }
        Ok(())
    }

    /// Sends a request; an error response is an error.
    async fn send(&self, request: http::Request<Vec<u8>>) -> anyhow::Result<Body> {
        let response = timeout(SILENCE, self.client.send(request.map(Body::from)))
            .await
            .with_context(|| format!("no response within {SILENCE:?}"))??;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let status = response.status();
        let body = timeout(
            SILENCE,
            Limited::new(response.into_body(), LONGEST_ERROR).collect(),
        )
        .await;
        let message = match body {
            Ok(Ok(body)) => {
                serde_json::from_slice::<Status>(&body.to_bytes())
                    .unwrap_or_default()
                    .message
            }
            _ => String::new(),
        };
        Err(anyhow::Error::new(ErrorResponse { status, message }))
    }

    fn is_broken(&self) -> bool {
        !matches!(&*self.progress.borrow(), Progress::Synced)
    }

    fn broken(&self, detail: String) {
        tracing::warn!(error = %detail, "the watch of RemediationRequests is broken and restarts");
        self.progress.send_if_modified(|known| {
            let next = match known {
                Progress::Starting { .. } => Progress::Starting { detail },
                Progress::Synced | Progress::Broken { .. } => Progress::Broken { detail },
            };
            replace(known, next)
        });
    }
}

/// An error response of the API server.
#[derive(Debug, thiserror::Error)]
#[error("{status}: {message}")]
struct ErrorResponse {
    status: StatusCode,
    message: String,
}

fn is_expired(error: &anyhow::Error) -> bool {
    let response = error.downcast_ref::<ErrorResponse>();
    response.is_some_and(|response| response.status == StatusCode::GONE)
}

fn requests() -> RequestBuilder {
    RequestBuilder::new(RemediationRequest::url_path(&(), None))
}

fn replace(known: &mut Progress, next: Progress) -> bool {
    let changed = *known != next;
    *known = next;
    changed
}
