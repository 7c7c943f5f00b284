//! Posts checkpoints to HTTP servers outside of the database.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Request, Uri};
use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use service::health::Status;
use tokio::sync::watch;

use crate::checkpoints::Published;
use crate::config;
use crate::store::tls;
use crate::writer::Shared;

/// Maximum time of a request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failure, doubled by each further one.
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A server that keeps checkpoints.
pub(crate) struct Target {
    url: Uri,
    token_file: Option<PathBuf>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    shared: Shared,
}

impl Target {
    pub(crate) fn new(target: &config::Target, shared: Shared) -> anyhow::Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client(target.ca_file.as_deref())?)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            url: target.url.parse()?,
            token_file: target.token_file.clone(),
            client: Client::builder(TokioExecutor::new()).build(connector),
            shared,
        })
    }

    /// Posts each checkpoint, or only the newest one after a failure: it proves the earlier ones. Ends with the publisher,
    /// after one attempt for its last checkpoint.
    pub(crate) async fn run(self, mut latest: watch::Receiver<Option<Published>>) {
        let url = self.url.to_string();
        self.shared.metrics.log.delivered(&url, 0);
        let mut delivered = 0;
        // Of an earlier process: it may not have been delivered.
        latest.mark_changed();
        let mut pause = None;
        let mut has_ended = false;
        while !has_ended {
            has_ended = match pause {
                None => latest.changed().await.is_err(),
                Some(pause) => tokio::time::timeout(pause, ended(&mut latest)).await.is_ok(),
            };
            let newest = latest.borrow_and_update().clone();
            if let Some(checkpoint) = newest
                && checkpoint.size > delivered
            {
                match self.post(&checkpoint).await {
                    Ok(()) => {
                        delivered = checkpoint.size;
                        pause = None;
                        self.shared.metrics.log.delivered(&url, delivered);
                        self.shared.availability.target(&url, Status::Ok, String::new());
                    }
                    Err(error) => {
                        let error = format!("{error:#}");
                        tracing::warn!(target_url = url, error, "the checkpoint was not published there");
                        pause = Some(pause.map_or(MIN_PAUSE, |pause: Duration| (pause * 2).min(MAX_PAUSE)));
                        self.shared.availability.target(&url, Status::Down, error);
                    }
                }
            }
        }
    }

    async fn post(&self, checkpoint: &Published) -> anyhow::Result<()> {
        let mut request = Request::post(&self.url).header(CONTENT_TYPE, "text/plain; charset=utf-8");
        if let Some(file) = &self.token_file {
            use anyhow::Context as _;
            let token = tokio::fs::read_to_string(file)
                .await
                .with_context(|| format!("cannot read {}", file.display()))?;
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.trim_end()));
        }
        let request = request.body(Full::from(checkpoint.note.to_string()))?;
        let response = tokio::time::timeout(TIMEOUT, self.client.request(request))
            .await
            .map_err(|_| anyhow::anyhow!("no response in {TIMEOUT:?}"))??;
        anyhow::ensure!(response.status().is_success(), "status {}", response.status());
        Ok(())
    }
}

/// Returns when the publisher has ended.
async fn ended(latest: &mut watch::Receiver<Option<Published>>) {
    while latest.changed().await.is_ok() {}
}
