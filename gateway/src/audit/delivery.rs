//! Delivers events from the spool to DataStorage, in order, until they are acknowledged.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use tokio::sync::watch;

use super::rejected::Rejected;
use super::segment::Stored;
use super::spool::Spool;
use crate::cause::root_cause;

/// Maximum events per request; DataStorage accepts up to 1,000.
const BATCH_EVENTS: usize = 500;
/// Approximate maximum bytes per request; DataStorage accepts up to 5 MiB.
const BATCH_BYTES: usize = 1 << 20;
/// Maximum time of one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Delays between attempts while DataStorage is unavailable.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The result of the last request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// No request yet.
    Unknown,
    /// DataStorage has acknowledged it.
    Working,
    /// It failed and will be retried.
    Unavailable {
        /// The error of DataStorage or of the network.
        detail: String,
    },
}

/// Counts deliveries, for metrics.
pub trait Observer: Send + Sync + 'static {
    /// This many events were stored.
    fn stored(&self, events: usize);
    /// DataStorage rejected one event as invalid.
    fn rejected(&self);
}

/// The client of DataStorage.
pub struct Delivery<O> {
    client: Client,
    url: Url,
    token_file: Option<std::path::PathBuf>,
    spool: Arc<Spool>,
    rejected: Arc<Rejected>,
    health: watch::Sender<Health>,
    observer: O,
}

/// DataStorage's response to a batch.
enum Response {
    Stored,
    /// The whole batch was rejected because at least one event is invalid.
    Rejected(String),
    Later(String, Option<Duration>),
}

impl<O: Observer> Delivery<O> {
    /// Delivers from `spool` to the DataStorage at `base`, such as `http://datastorage:8080`, with the bearer token
    /// in `token_file`, which is read for each request, since the cluster rotates it. Events that it rejects are kept
    /// in `rejected`.
    ///
    /// # Errors
    /// The URL cannot be extended by a path, or the client cannot be built.
    pub fn new(
        base: &Url,
        token_file: Option<std::path::PathBuf>,
        spool: Arc<Spool>,
        rejected: Arc<Rejected>,
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
            rejected,
            health,
            observer,
        })
    }

    /// Delivers until it is dropped.
    pub async fn run(self) {
        loop {
            let batch = self.spool.next(BATCH_EVENTS, BATCH_BYTES).await;
            self.deliver(&batch.events).await;
            self.spool.delivered(&batch);
        }
    }

    /// Returns when each event is stored or was rejected as invalid. DataStorage stores all of a batch or none, so a
    /// rejected batch is halved until the invalid events are alone.
    async fn deliver(&self, events: &[Stored]) {
        let mut parts = vec![events];
        let mut wait = FIRST_WAIT;
        while let Some(part) = parts.pop() {
            match self.send(part).await {
                Response::Stored => {
                    self.working();
                    self.observer.stored(part.len());
                    wait = FIRST_WAIT;
                }
                Response::Rejected(detail) => match part {
                    [] => {}
                    [event] => {
                        self.observer.rejected();
                        self.rejected.keep(event, &detail);
                    }
                    _ => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.push(second);
                        parts.push(first);
                    }
                },
                Response::Later(detail, retry_after) => {
                    self.unavailable(detail);
                    parts.push(part);
                    tokio::time::sleep(retry_after.unwrap_or(wait).min(LONGEST_WAIT)).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    async fn send(&self, events: &[Stored]) -> Response {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json");
        if let Some(file) = &self.token_file {
            match tokio::fs::read_to_string(file).await {
                Ok(token) => request = request.bearer_auth(token.trim()),
                Err(error) => return Response::Later(format!("{}: {error}", file.display()), None),
            }
        }
        let response = match request.body(array_of(events)).send().await {
            Ok(response) => response,
            Err(error) => return Response::Later(root_cause(&error), None),
        };
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        match status {
            status if status.is_success() => Response::Stored,
            StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => {
                Response::Rejected(format!("{status}: {}", response.text().await.unwrap_or_default()))
            }
            // Every other error concerns DataStorage or the network, not these events.
            status => Response::Later(
                format!("DataStorage returned {status}"),
                retry_after.map(Duration::from_secs),
            ),
        }
    }

    fn working(&self) {
        self.health.send_if_modified(|health| {
            let changed = *health != Health::Working;
            if matches!(health, Health::Unavailable { .. }) {
                tracing::info!("DataStorage accepts audit events again");
            }
            *health = Health::Working;
            changed
        });
    }

    fn unavailable(&self, detail: String) {
        self.health.send_if_modified(|health| {
            let next = Health::Unavailable { detail };
            if *health == next {
                return false;
            }
            if let Health::Unavailable { detail } = &next {
                tracing::warn!(
                    detail,
                    "DataStorage is unavailable; audit events wait in the spool"
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

#[cfg(test)]
mod tests;
