//! The three listeners of a service and its ordered stop.
//!
//! On SIGTERM or SIGINT: readiness turns to 503 at once, the API goes on answering for [`Stop::announce`] (the time
//! that a cluster takes to stop sending new connections), then takes no new connection, finishes what is in flight,
//! and at last hands back to the caller, which empties its queues. Health and metrics answer until the end.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

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

    /// Begins the stop: as a signal does, for tests and for a service that can't go on.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the stop begins.
    pub async fn stopping(&self) {
        // The sender lives in `self`, so that waiting can't fail.
        let _ = self.0.subscribe().wait_for(|stopping| *stopping).await;
    }
}

/// Where the three listeners listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The API.
    pub api: SocketAddr,
    /// `/healthz` and `/readyz`.
    pub health: SocketAddr,
    /// `/metrics`.
    pub metrics: SocketAddr,
}

/// How long each part of a stop may take.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// From the signal until no new connection is taken.
    pub announce: Duration,
    /// From then until requests in flight are given up.
    pub drain: Duration,
}

/// The three bound listeners.
#[derive(Debug)]
pub struct Listeners {
    api: TcpListener,
    health: TcpListener,
    metrics: TcpListener,
}

impl Listeners {
    /// Binds all three.
    ///
    /// # Errors
    /// One or more addresses can't be bound; the message names each with its field of the configuration.
    pub async fn bind(addresses: Addresses) -> anyhow::Result<Self> {
        let Addresses { api, health, metrics } = addresses;
        match (
            TcpListener::bind(api).await,
            TcpListener::bind(health).await,
            TcpListener::bind(metrics).await,
        ) {
            (Ok(api), Ok(health), Ok(metrics)) => Ok(Self { api, health, metrics }),
            (api_result, health_result, metrics_result) => {
                let failures: Vec<String> = [
                    ("api", api, api_result.err()),
                    ("health", health, health_result.err()),
                    ("metrics", metrics, metrics_result.err()),
                ]
                .into_iter()
                .filter_map(|(field, address, error)| {
                    error.map(|error| format!("http.{field} = {address}: {error}"))
                })
                .collect();
                anyhow::bail!("can't listen: {}", failures.join("; "))
            }
        }
    }

    /// Where they listen; for ports given as 0.
    ///
    /// # Errors
    /// The system can't say.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            api: self.api.local_addr()?,
            health: self.health.local_addr()?,
            metrics: self.metrics.local_addr()?,
        })
    }

    /// Serves health and metrics from now on, for as long as the answer is kept.
    #[must_use]
    pub fn serve_health(self, health: Router, metrics: Router) -> HealthServed {
        let side = vec![spawn(self.health, health), spawn(self.metrics, metrics)];
        HealthServed {
            api: self.api,
            _side: Side(side),
        }
    }
}

/// Health and metrics are answered; the API not yet.
#[derive(Debug)]
pub struct HealthServed {
    api: TcpListener,
    _side: Side,
}

/// Health and metrics, served until this is dropped.
#[derive(Debug)]
#[must_use = "health and metrics are no longer answered when this is dropped"]
pub struct Side(Vec<JoinHandle<()>>);

impl Drop for Side {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl HealthServed {
    /// Serves the API until `lifecycle` stops, then drains as the module's doc says. Health and metrics go on for as
    /// long as the returned value is kept.
    pub async fn serve_api(self, api: Router, lifecycle: Lifecycle, stop: Stop) -> Side {
        let closing = lifecycle.clone();
        let api = api.layer(middleware::from_fn(move |request: Request, next: Next| {
            let closing = closing.clone();
            async move {
                let mut response = next.run(request).await;
                if closing.is_stopping() {
                    // A kept-alive connection would go on bringing requests here until it is cut.
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
        let listener = self.api.tap_io(no_delay);
        // Who the peer is, for those who limit what one client may send.
        let api = api.into_make_service_with_connect_info::<SocketAddr>();
        let mut served =
            tokio::spawn(async move { axum::serve(listener, api).with_graceful_shutdown(wait).await });
        lifecycle.stopping().await;
        tokio::time::sleep(stop.announce).await;
        close.send_replace(true);
        match tokio::time::timeout(stop.drain, &mut served).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "the API listener failed"),
            Ok(Err(error)) => tracing::error!(%error, "the API task failed"),
            Err(_) => {
                tracing::warn!(
                    seconds = stop.drain.as_secs(),
                    "requests still in flight are given up"
                );
                served.abort();
            }
        }
        self._side
    }
}

/// Without it the second small segment of an answer waits for the client's delayed acknowledgement, 40 ms.
fn no_delay(stream: &mut tokio::net::TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY can't be set");
    }
}

fn spawn(listener: TcpListener, routes: Router) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "a side listener failed");
        }
    })
}

/// Begins the stop of `lifecycle` when the process is told to end.
///
/// # Errors
/// Signal handlers can't be set.
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
