//! The three listeners of a service and its ordered stop.
//!
//! On SIGTERM or SIGINT: readiness turns to 503 at once, the API accepts connections for `stop.announce_ms` (the time
//! that a cluster takes to stop sending new ones), then accepts no new connection and finishes requests in flight for
//! `stop.drain_ms`; afterwards the service empties its queues. Health and metrics are served until the end.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::Layer;

use crate::config::{self, Stop};
use crate::patience::Patient;

/// Delay after a failed accept.
const ACCEPT_DELAY: Duration = Duration::from_secs(1);

/// Whether the service is stopping; cheap to clone.
#[derive(Clone, Debug)]
pub struct Lifecycle(watch::Sender<bool>);

impl Default for Lifecycle {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Lifecycle {
    /// Whether the stop has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow()
    }

    /// Begins the stop, as a signal does; for tests and for a service that cannot continue.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the stop begins.
    pub async fn stopping(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|stopping| *stopping).await;
    }
}

/// The addresses of the three listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The API.
    pub api: SocketAddr,
    /// `/healthz` and `/readyz`.
    pub health: SocketAddr,
    /// `/metrics`.
    pub metrics: SocketAddr,
}

/// Maximum times of a client's part in a request.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    /// To send the headers.
    header: Duration,
    /// Without accepting a byte of a response.
    write: Duration,
}

/// The three bound listeners.
#[derive(Debug)]
pub struct Listeners {
    api: TcpListener,
    health: TcpListener,
    metrics: TcpListener,
    timeouts: Timeouts,
}

impl Listeners {
    /// Binds all three, logs their addresses and writes them to `http.addresses_file`.
    ///
    /// # Errors
    /// One or more addresses cannot be bound, or the file cannot be written; the message names each key.
    pub async fn bind(http: &config::Http) -> anyhow::Result<Self> {
        let (mut bound, mut failures) = (Vec::new(), Vec::new());
        for (key, address) in [
            ("api", http.api),
            ("health", http.health),
            ("metrics", http.metrics),
        ] {
            match TcpListener::bind(address).await {
                Ok(listener) => bound.push(listener),
                Err(error) => failures.push(format!("http.{key} = {address}: {error}")),
            }
        }
        let Ok([api, health, metrics]) = <[TcpListener; 3]>::try_from(bound) else {
            anyhow::bail!("cannot listen: {}", failures.join("; "));
        };
        let timeouts = Timeouts {
            header: Duration::from_millis(http.header_timeout_ms),
            write: Duration::from_millis(http.write_timeout_ms),
        };
        let listeners = Self {
            api,
            health,
            metrics,
            timeouts,
        };
        let addresses = listeners.addresses()?;
        if let Some(path) = &http.addresses_file {
            write_addresses(path, &addresses)
                .with_context(|| format!("http.addresses_file = {}", path.display()))?;
        }
        let Addresses { api, health, metrics } = addresses;
        tracing::info!(%api, %health, %metrics, "listening");
        Ok(listeners)
    }

    /// The bound addresses, with the ports that the system selected for 0.
    ///
    /// # Errors
    /// The system returns none.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            api: self.api.local_addr()?,
            health: self.health.local_addr()?,
            metrics: self.metrics.local_addr()?,
        })
    }

    /// Serves health and metrics until the returned value is dropped.
    #[must_use]
    pub fn serve_health(self, health: Router, metrics: Router) -> HealthServed {
        let spawn =
            |listener, routes| tokio::spawn(serve(listener, routes, self.timeouts, std::future::pending()));
        let side = vec![spawn(self.health, health), spawn(self.metrics, metrics)];
        HealthServed {
            api: self.api,
            timeouts: self.timeouts,
            _side: Side(side),
        }
    }
}

/// Health and metrics are served; the API not yet.
#[derive(Debug)]
pub struct HealthServed {
    api: TcpListener,
    timeouts: Timeouts,
    _side: Side,
}

/// Health and metrics, served until this is dropped.
#[derive(Debug)]
#[must_use = "health and metrics are no longer served when this is dropped"]
pub struct Side(Vec<JoinHandle<()>>);

impl Drop for Side {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl HealthServed {
    /// Serves the API until `lifecycle` stops, then drains as the module's doc says. Health and metrics are served until
    /// the returned value is dropped.
    pub async fn serve_api(self, api: Router, lifecycle: Lifecycle, stop: Stop) -> Side {
        let closing = lifecycle.clone();
        let api = api.layer(middleware::from_fn(move |request: Request, next: Next| {
            let closing = closing.clone();
            async move {
                let mut response = next.run(request).await;
                if closing.is_stopping() {
                    // A kept-alive connection would bring further requests until it is closed.
                    response
                        .headers_mut()
                        .insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        }));
        let (close, closed) = watch::channel(false);
        let wait = async move {
            let mut closed = closed;
            let _ = closed.wait_for(|closed| *closed).await;
        };
        let mut served = tokio::spawn(serve(self.api, api, self.timeouts, wait));
        lifecycle.stopping().await;
        tokio::time::sleep(stop.announce()).await;
        close.send_replace(true);
        match tokio::time::timeout(stop.drain(), &mut served).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the API task failed"),
            Err(_) => {
                tracing::warn!(
                    drain_ms = stop.drain_ms,
                    "requests are still in flight and are aborted"
                );
                served.abort();
            }
        }
        self._side
    }
}

/// Serves connections until `closed` completes, then finishes their current requests.
///
/// axum's own server has no timeout for headers: a client that never completes them would hold its connection forever.
async fn serve(listener: TcpListener, routes: Router, timeouts: Timeouts, closed: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(timeouts.header);
    let connections = GracefulShutdown::new();
    tokio::pin!(closed);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut closed => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of file descriptors, most likely: time for other connections to end.
                    tokio::time::sleep(ACCEPT_DELAY).await;
                    continue;
                }
            },
        };
        // Without it the second small segment of a response waits for the client's delayed acknowledgement, 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        // The peer's address, for limits per client.
        let stream = Patient::new(stream, timeouts.write);
        let service = TowerToHyperService::new(Extension(ConnectInfo(peer)).layer(routes.clone()));
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}

/// Writes the addresses as JSON, atomically.
fn write_addresses(path: &Path, addresses: &Addresses) -> anyhow::Result<()> {
    let beside = path.with_extension("partial");
    std::fs::write(&beside, serde_json::to_vec(addresses)?)?;
    Ok(std::fs::rename(&beside, path)?)
}

/// Begins the stop of `lifecycle` on SIGTERM or SIGINT.
///
/// # Errors
/// Signal handlers cannot be installed.
pub fn stop_on_signal(lifecycle: &Lifecycle) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let lifecycle = lifecycle.clone();
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
        lifecycle.stop();
    })
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    fn local() -> config::Http {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        config::Http {
            api: any,
            health: any,
            metrics: any,
            ..config::Http::default()
        }
    }

    #[tokio::test]
    async fn port_0_is_bound_and_written_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("addresses.json");
        let http = config::Http {
            addresses_file: Some(path.clone()),
            ..local()
        };
        let listeners = Listeners::bind(&http).await.unwrap();
        let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let bound = listeners.addresses().unwrap();
        assert_ne!(bound.api.port(), 0);
        assert_eq!(written, serde_json::to_value(bound).unwrap());
    }

    #[tokio::test]
    async fn taken_address_is_named_with_its_key() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = config::Http {
            health: taken.local_addr().unwrap(),
            ..local()
        };
        let error = Listeners::bind(&http).await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("http.health = {}", http.health)),
            "{error}"
        );
    }

    #[tokio::test]
    async fn client_that_does_not_read_is_disconnected_and_its_body_dropped() {
        use axum::body::{Body, Bytes};
        use futures::stream;

        let http = config::Http {
            write_timeout_ms: 200,
            ..local()
        };
        let listeners = Listeners::bind(&http).await.unwrap();
        let address = listeners.addresses().unwrap().health;
        let held = std::sync::Arc::new(());
        let body = std::sync::Arc::clone(&held);
        let endless = move || {
            let held = std::sync::Arc::clone(&body);
            async move {
                Body::from_stream(stream::repeat_with(move || {
                    let _held = &held;
                    Ok::<_, std::io::Error>(Bytes::from_static(&[b'a'; 16 << 10]))
                }))
            }
        };
        let side = listeners.serve_health(Router::new().route("/", get(endless)), Router::new());
        let before = std::sync::Arc::strong_count(&held);
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut begin = [0; 12];
        client.read_exact(&mut begin).await.unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
        assert!(std::sync::Arc::strong_count(&held) > before);
        tokio::time::timeout(Duration::from_secs(20), async {
            while std::sync::Arc::strong_count(&held) > before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("the body is dropped");
        drop((side, client));
    }

    #[tokio::test]
    async fn connection_with_incomplete_headers_is_closed() {
        let http = config::Http {
            header_timeout_ms: 100,
            ..local()
        };
        let listeners = Listeners::bind(&http).await.unwrap();
        let address = listeners.addresses().unwrap().health;
        let side = listeners.serve_health(Router::new().route("/", get(|| async { "ok" })), Router::new());
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ")
            .await
            .unwrap();
        let mut rest = Vec::new();
        // Ends only when the server closes the connection.
        let _ = client.read_to_end(&mut rest).await;
        assert!(
            !rest.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&rest)
        );
        drop(side);
    }
}
