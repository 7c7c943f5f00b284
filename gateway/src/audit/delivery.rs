//! Takes events from the spool to DataStorage, in order, until it has them.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use tokio::sync::watch;

use super::segment::Stored;
use super::spool::Spool;
use crate::cause::root_cause;

/// Events in one request; DataStorage takes up to 1,000.
const BATCH_EVENTS: usize = 500;
/// Bytes in one request, about; DataStorage takes up to 5 MiB.
const BATCH_BYTES: usize = 1 << 20;
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The waits between tries while DataStorage is away.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Above it the file of refused events is not extended; they are in the log all the same.
const REFUSED_BYTES: u64 = 16 << 20;

/// How the last request went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// None was made yet.
    Unknown,
    /// DataStorage took it.
    Working,
    /// It did not, and will be asked again.
    Away {
        /// What it or the network said.
        detail: String,
    },
}

/// Counts what happens, for metrics.
pub trait Observer: Send + Sync + 'static {
    /// So many events are stored.
    fn stored(&self, events: usize);
    /// DataStorage refused one event for what is in it.
    fn refused(&self);
}

/// The way to DataStorage.
pub struct Delivery<O> {
    client: Client,
    url: Url,
    token_file: Option<std::path::PathBuf>,
    spool: Arc<Spool>,
    health: watch::Sender<Health>,
    observer: O,
}

enum Answer {
    Stored,
    /// All of it was refused for the sake of at least one event.
    Refused(String),
    Later(String, Option<Duration>),
}

impl<O: Observer> Delivery<O> {
    /// Delivers from `spool` to the DataStorage at `base`, such as `http://datastorage:8080`; with the bearer token
    /// in `token_file`, which is read for each request, since it is renewed by the cluster.
    ///
    /// # Errors
    /// The URL can't be extended by a path, or the client can't be made.
    pub fn new(
        base: &Url,
        token_file: Option<std::path::PathBuf>,
        spool: Arc<Spool>,
        health: watch::Sender<Health>,
        observer: O,
    ) -> anyhow::Result<Self> {
        let url = base.join("/api/v1/audit/events/batch")?;
        let client = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self {
            client,
            url,
            token_file,
            spool,
            health,
            observer,
        })
    }

    /// Delivers for as long as it is polled.
    pub async fn run(self) {
        loop {
            let batch = self.spool.next(BATCH_EVENTS, BATCH_BYTES).await;
            self.deliver(&batch.events).await;
            self.spool.delivered(&batch);
        }
    }

    /// Returns when each event is stored or was refused for itself. DataStorage stores all of a batch or none, so a
    /// refused batch is halved until the bad ones are alone.
    async fn deliver(&self, events: &[Stored]) {
        let mut parts = vec![events];
        let mut wait = FIRST_WAIT;
        while let Some(part) = parts.pop() {
            match self.send(part).await {
                Answer::Stored => {
                    self.working();
                    self.observer.stored(part.len());
                    wait = FIRST_WAIT;
                }
                Answer::Refused(detail) => match part {
                    [] => {}
                    [event] => self.refused(event, &detail),
                    _ => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.push(second);
                        parts.push(first);
                    }
                },
                Answer::Later(detail, asked) => {
                    self.away(detail);
                    parts.push(part);
                    tokio::time::sleep(asked.unwrap_or(wait).min(LONGEST_WAIT)).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    async fn send(&self, events: &[Stored]) -> Answer {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json");
        if let Some(file) = &self.token_file {
            match tokio::fs::read_to_string(file).await {
                Ok(token) => request = request.bearer_auth(token.trim()),
                Err(error) => return Answer::Later(format!("{}: {error}", file.display()), None),
            }
        }
        let response = match request.body(array_of(events)).send().await {
            Ok(response) => response,
            Err(error) => return Answer::Later(root_cause(&error), None),
        };
        let status = response.status();
        let asked = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        match status {
            status if status.is_success() => Answer::Stored,
            StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => {
                Answer::Refused(format!("{status}: {}", response.text().await.unwrap_or_default()))
            }
            // Everything else is about DataStorage or the way to it, not about these events.
            status => Answer::Later(
                format!("DataStorage answers {status}"),
                asked.map(Duration::from_secs),
            ),
        }
    }

    /// Lays a refused event aside where people find it, so that it does not stop those behind it.
    fn refused(&self, event: &Stored, detail: &str) {
        self.observer.refused();
        let path = self.spool.directory().join("refused.ndjson");
        let kept = keep(&path, &event.text);
        let id = serde_json::from_slice::<serde_json::Value>(&event.text)
            .ok()
            .and_then(|event| Some(event.get("event_id")?.as_str()?.to_owned()))
            .unwrap_or_default();
        tracing::error!(event_id = id, detail, path = %path.display(), kept = kept.is_ok(), "DataStorage refused an audit event");
    }

    fn working(&self) {
        self.health.send_if_modified(|health| {
            let changed = *health != Health::Working;
            if matches!(health, Health::Away { .. }) {
                tracing::info!("DataStorage takes audit events again");
            }
            *health = Health::Working;
            changed
        });
    }

    fn away(&self, detail: String) {
        self.health.send_if_modified(|health| {
            let next = Health::Away { detail };
            if *health == next {
                return false;
            }
            if let Health::Away { detail } = &next {
                tracing::warn!(
                    detail,
                    "DataStorage takes no audit events; they wait in the spool"
                );
            }
            *health = next;
            true
        });
    }
}

fn array_of(events: &[Stored]) -> Vec<u8> {
    let mut body = vec![b'['];
    for (position, event) in events.iter().enumerate() {
        if position > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&event.text);
    }
    body.push(b']');
    body
}

fn keep(path: &std::path::Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    if file.metadata()?.len() > REFUSED_BYTES {
        return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
    }
    file.write_all(&[text, b"\n"].concat())
}

#[cfg(test)]
mod tests;
