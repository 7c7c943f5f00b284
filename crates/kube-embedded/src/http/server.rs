//! The listener and its connections.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::metrics::Metrics;
use super::request::Shared;
use super::service::{Connection, serve};
use crate::api::Api;
use crate::faults::Faults;

/// Options of the listener.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address; port 0 selects a free one.
    pub listen: SocketAddr,
    /// Path of the kubeconfig to write.
    pub kubeconfig: Option<PathBuf>,
}

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Listener {
    /// Binds the address and writes the kubeconfig.
    ///
    /// # Errors
    /// The address is in use, or a file cannot be written.
    pub async fn bind(options: &Options, api: Arc<Api>) -> Result<Self> {
        let listener = TcpListener::bind(options.listen).await.with_context(|| {
            format!(
                "cannot listen on {}; is another server running there?",
                options.listen
            )
        })?;
        let address = listener.local_addr()?;
        api.publish(address)?;
        if let Some(path) = &options.kubeconfig {
            write_kubeconfig(path, address)?;
        }
        let shared = Arc::new(Shared {
            api,
            faults: Arc::new(Faults::default()),
            metrics: Metrics::default(),
            address,
        });
        Ok(Self { listener, shared })
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Serves until `stop` completes; connections are then closed, as no watch ends by itself.
    ///
    /// # Errors
    /// The port cannot be opened again after a fault closed it.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<()> {
        let Self { mut listener, shared } = self;
        let mut closed = shared.faults.closed();
        let (cut, _) = watch::channel(0_u64);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                Ok(()) = closed.changed() => {
                    drop(listener);
                    let reserved = reserve(shared.address)?;
                    cut.send_modify(|count| *count += 1);
                    tokio::select! {
                        () = &mut stop => return Ok(()),
                        () = wait_until_open(&mut closed) => {}
                    }
                    listener = reserved.listen(1024)
                        .with_context(|| format!("cannot open the port {} again", shared.address))?;
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        tokio::spawn(connection(Arc::clone(&shared), stream, cut.subscribe()));
                    }
                    Err(error) => tracing::warn!(%error, "cannot accept a connection"),
                },
            }
        }
    }
}

/// Holds the port without listening: new connections fail, and no other program can bind it meanwhile.
fn reserve(address: SocketAddr) -> Result<TcpSocket> {
    let bind = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        std::io::Result::Ok(socket)
    };
    bind().with_context(|| format!("cannot reserve {address} while a fault closes it"))
}

async fn wait_until_open(closed: &mut watch::Receiver<Option<Instant>>) {
    loop {
        let until = *closed.borrow_and_update();
        let Some(until) = until else { return };
        tokio::select! {
            () = sleep_until(until.into()) => return,
            Ok(()) = closed.changed() => {}
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, mut cut: watch::Receiver<u64>) {
    let state = Arc::new(Connection::default());
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    // Dropping an open connection resets it; after a graceful end there is nothing left to lose.
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "no SO_LINGER");
    }
    let service = service_fn(|request| serve(Arc::clone(&shared), Arc::clone(&state), request));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        },
        () = state.reset.notified() => tracing::info!("a connection was reset by a fault"),
        _ = cut.changed() => if state.manages_faults.load(Ordering::Acquire) {
            // The client that closes the port gets its response.
            serving.as_mut().graceful_shutdown();
            let _ = timeout(Duration::from_secs(1), serving).await;
        }
    }
}

/// Writes a kubeconfig for an address, atomically.
///
/// # Errors
/// The file cannot be written.
pub fn write_kubeconfig(path: &Path, address: SocketAddr) -> Result<()> {
    let name = "kube-embedded";
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name, "preferences": {},
        "clusters": [{"name": name, "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "users": [{"name": name, "user": {}}],
    });
    let beside = path.with_extension("new");
    std::fs::write(&beside, format!("{config:#}\n"))
        .with_context(|| format!("cannot write {}", beside.display()))?;
    std::fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}
