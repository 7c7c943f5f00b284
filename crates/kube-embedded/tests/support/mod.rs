//! A server for a test, and a client that sends raw requests.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helper, outside of the functions in which clippy.toml allows them"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube_embedded::api::{self, Api};
use kube_embedded::http::{Listener, Options};
use tokio::sync::oneshot;

/// A server in this process, on a free port.
pub(crate) struct Server {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: Option<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &api::Options::default()).await
    }

    pub(crate) async fn start_in(folder: tempfile::TempDir, options: &api::Options) -> Self {
        let kubeconfig = folder.path().join("kubeconfig");
        let listen = Options {
            listen: ([127, 0, 0, 1], 0).into(),
            kubeconfig: Some(kubeconfig.clone()),
        };
        let listener = Listener::bind(&listen, Arc::new(Api::new(options).unwrap()))
            .await
            .unwrap();
        let address = listener.address();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(listener.run(async {
            let _ = stopped.await;
        }));
        Self {
            kubeconfig,
            address,
            folder,
            stop: Some(stop),
            task: Some(task),
        }
    }

    /// Stops it and returns its folder, for the next one.
    pub(crate) async fn stop(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        self.task.take().unwrap().await.unwrap().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

/// Sends requests to a cluster.
pub(crate) struct Client {
    admin: kube::Client,
    /// A client without the admin certificate, for requests with a token.
    bare: kube::Client,
}

/// A response.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl fmt::Display for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.status, self.body)
    }
}

impl Client {
    pub(crate) async fn of_kubeconfig(path: &Path) -> Self {
        let file = Kubeconfig::read_from(path).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .unwrap();
        // The suite checks every response, including 429 and 503, which kube would retry.
        config.default_retry = false;
        let mut bare = config.clone();
        bare.auth_info = kube::config::AuthInfo::default();
        Self {
            admin: kube::Client::try_from(config).unwrap(),
            bare: kube::Client::try_from(bare).unwrap(),
        }
    }

    /// Sends `METHOD PATH`.
    pub(crate) async fn send(
        &self,
        request: &str,
        headers: &BTreeMap<String, String>,
        body: Option<&str>,
    ) -> Response {
        let (method, path) = request.split_once(' ').expect("a request is a method and a path");
        let mut builder = http::Request::builder().method(method).uri(path);
        if body.is_some() && !headers.contains_key("content-type") {
            builder = builder.header("content-type", "application/json");
        }
        if !headers.contains_key("user-agent") {
            builder = builder.header("user-agent", "conformance/1");
        }
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        let bytes = body.unwrap_or_default().as_bytes().to_vec();
        let request = builder.body(kube::client::Body::from(bytes)).unwrap();
        let client = if headers.contains_key("authorization") {
            &self.bare
        } else {
            &self.admin
        };
        let sent = tokio::time::timeout(Duration::from_secs(60), async {
            let response = client.send(request).await.unwrap();
            let (head, body) = response.into_parts();
            let bytes = body.collect_bytes().await.unwrap();
            Response {
                status: head.status.as_u16(),
                headers: head.headers,
                body: String::from_utf8_lossy(&bytes).into_owned(),
            }
        });
        sent.await
            .unwrap_or_else(|_| panic!("no response within 60 s: {method} {path}"))
    }
}

/// Waits for a condition, at most 60 seconds.
pub(crate) async fn until(what: &str, mut is_met: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !is_met().await {
        assert!(tokio::time::Instant::now() < deadline, "not within 60 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
