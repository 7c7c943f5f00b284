//! Starts and stops the service.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use prometheus_client::registry::Registry;
use service::auth::Authorizer;
use service::config::AuthMode;
use service::health::{self, ReadinessCell, Status};
use service::http::Limits;
use service::server::{self, Lifecycle, Listeners};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::audit::delivery::{Delivery, Health};
use crate::audit::rejected::{Counts, Rejected};
use crate::audit::spool::{Pending, Spool};
use crate::audit::trail::SpoolTrail;
use crate::cluster::Writer;
use crate::cluster::breaker::State;
use crate::cluster::breakers::Breakers;
use crate::cluster::kubernetes::Kubernetes;
use crate::cluster::owners::Owners;
use crate::cluster::watch::{self as cluster_watch, Progress};
use crate::config::{Config, FingerprintOf};
use crate::deduplicate::Deduplicator;
use crate::domain::index::Index;
use crate::gateway::Gateway;
use crate::http::redelivery::Deliveries;
use crate::http::room::Room;
use crate::http::{self, App};
use crate::metrics::{Gauges, Metrics};
use crate::unresolved;

/// How often readiness is checked for changes without an event, such as the age of the spool and the breaker.
const LOOK: Duration = Duration::from_secs(1);
/// Connecting to an API server takes milliseconds; on an overloaded machine, seconds.
const CONNECT: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT, then stops in order: readiness, requests in flight, spool.
///
/// # Errors
/// It cannot start: the cluster's configuration, the spool or a listener; the error has the reason.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let listeners = Listeners::bind(&config.http).await?;
    let lifecycle = Lifecycle::default();
    tokio::spawn(server::stop_on_signal(&lifecycle)?);

    let spool = Arc::new(Spool::open(config.spool.clone())?);
    let rejected = Arc::new(Rejected::new(spool.directory(), config.spool.max_rejected_bytes));
    tokio::spawn(Arc::clone(&rejected).run(Arc::clone(&spool)));
    let client = client(&config)
        .await
        .context("cannot use the Kubernetes API's configuration")?;
    let breakers = Arc::new(Breakers::new(config.breaker));
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    registry.register_collector(Box::new(Gauges {
        spool: spool.pending(),
        rejected: rejected.counts(),
        breakers: Arc::clone(&breakers),
    }));

    let (delivery_health, delivered) = watch::channel(Health::Unknown);
    let url = config.datastorage.url.parse()?;
    let token_file = config.datastorage.token_file.clone();
    let delivery = Delivery::new(
        &url,
        token_file,
        Arc::clone(&spool),
        Arc::clone(&rejected),
        delivery_health,
        metrics.clone(),
    )?;
    tokio::spawn(delivery.run());

    let index = Arc::new(Mutex::new(Index::new(config.deduplication.cool_down())));
    let (progress, synced) = watch::channel(Progress::Starting {
        detail: "not checked yet".to_owned(),
    });
    let writer = Writer::default();
    tokio::spawn(cluster_watch::feed(
        client.clone(),
        writer.clone(),
        Arc::clone(&index),
        progress,
    ));
    let readiness = ReadinessCell::default();
    let known = Known {
        progress: synced.clone(),
        breakers: Arc::clone(&breakers),
        delivered,
        spool: spool.pending(),
        rejected: rejected.counts(),
    };
    tokio::spawn(known.keep(readiness.clone()));

    let fallback = config.kubernetes.fallback_namespace.clone();
    let requests = Kubernetes::new(client.clone(), config.retry, breakers, fallback.clone(), writer);
    let interval = Duration::from_millis(config.deduplication.interval_ms);
    let owners = matches!(config.deduplication.fingerprint, FingerprintOf::Owner);
    let owners = owners.then(|| Arc::new(Owners::new(requests.clone())));
    let authorizer = match config.auth.mode(config.environment) {
        AuthMode::Off => None,
        AuthMode::Kubernetes => Some(Authorizer::connect(&config.auth, Some(client)).await?),
    };
    let trail = SpoolTrail(Arc::clone(&spool));
    let (queue, resolver) = unresolved::channel(requests.clone(), fallback.clone(), trail.clone());
    let (stop_resolving, stopped) = oneshot::channel();
    let resolver = tokio::spawn(resolver.run(stopped));
    let deduplicator = Deduplicator::new(requests, trail.clone(), index, fallback, interval);
    let limits = Limits::new(&config.http);
    let app = App {
        gateway: Gateway::new(deduplicator, trail, queue, metrics, synced, owners),
        authorizer,
        limits: limits.clone(),
        rules: Arc::new(config.alerts.clone()),
        room: Room::default(),
        deliveries: Deliveries::new(Duration::from_millis(config.deduplication.redelivery_ms)),
    };
    let api = http::router(app, &config.http)?;
    let version = service::version(env!("CARGO_PKG_VERSION"));
    tracing::info!(%version, environment = ?config.environment, "serving");
    let health = health::router("gateway", version, lifecycle.clone(), readiness);
    let side = listeners.serve_health(health, health::metrics(Arc::new(registry)));
    let side = side.serve_api(api, lifecycle, config.stop).await;
    let resolved = async {
        drop(stop_resolving);
        let _ = resolver.await;
    };
    end(&config, &limits, resolved, &spool).await;
    drop(side);
    Ok(())
}

async fn client(config: &Config) -> anyhow::Result<kube::Client> {
    let mut settings = match &config.kubernetes.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).with_context(|| path.display().to_string())?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => {
            kube::Config::incluster().context("kubernetes.kubeconfig is not set, and this is not a pod")?
        }
    };
    settings.connect_timeout = Some(CONNECT);
    // Calls are retried where it is known whether that helps.
    settings.default_retry = false;
    Ok(kube::Client::try_from(settings)?)
}

/// The sources of readiness.
struct Known {
    progress: watch::Receiver<Progress>,
    breakers: Arc<Breakers>,
    delivered: watch::Receiver<Health>,
    spool: watch::Receiver<Pending>,
    rejected: watch::Receiver<Counts>,
}

impl Known {
    /// Keeps `readiness` up to date. The service is ready once the index is in sync, and stays ready while the cluster
    /// or DataStorage is unavailable: clients get 503, and events wait.
    async fn keep(mut self, readiness: ReadinessCell) {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            self.report(&readiness);
            let closed = tokio::select! {
                changed = self.progress.changed() => changed.is_err(),
                changed = self.delivered.changed() => changed.is_err(),
                _ = tick.tick() => false,
            };
            if closed {
                return;
            }
        }
    }

    fn report(&mut self, readiness: &ReadinessCell) {
        let progress = self.progress.borrow_and_update().clone();
        let (status, detail) = match (&progress, self.breakers.state()) {
            (Progress::Starting { detail } | Progress::Broken { detail }, _) => {
                (Status::Down, detail.clone())
            }
            (Progress::Synced, State::Open) => (Status::Down, "the circuit breaker is open".to_owned()),
            (Progress::Synced, _) => match &*self.breakers.open() {
                [] => (Status::Ok, String::new()),
                [scope, ..] => {
                    let (method, namespace) = (&scope.method, &scope.namespace);
                    (
                        Status::Down,
                        format!("{method} fails in the namespace {namespace}; its circuit breaker is open"),
                    )
                }
            },
        };
        readiness.dependency("kubernetes", status, detail);
        let (status, detail) = match &*self.delivered.borrow_and_update() {
            Health::Unavailable { detail } => (Status::Down, detail.clone()),
            Health::Unknown | Health::Working => (Status::Ok, String::new()),
        };
        readiness.dependency("datastorage", status, detail);
        let troubles = troubles(&self.spool.borrow(), &self.rejected.borrow());
        let status = if troubles.is_empty() {
            Status::Ok
        } else {
            Status::Down
        };
        readiness.dependency("spool", status, troubles.join("; "));
        readiness.update(|readiness| readiness.ready |= progress == Progress::Synced);
    }
}

/// What is wrong with the spool, for `/readyz`.
fn troubles(pending: &Pending, rejected: &Counts) -> Vec<String> {
    let mut troubles = Vec::new();
    if let Some(trouble) = &pending.trouble {
        troubles.push(format!("{trouble}; {} events wait in memory", pending.in_memory));
    }
    let lost = pending.lost + rejected.lost;
    if lost > 0 {
        troubles.push(format!("{lost} events were lost since the start"));
    }
    if pending.corrupt > 0 {
        troubles.push(format!(
            "{} damaged segments are kept as .corrupt in spool.directory; delete them when they were inspected",
            pending.corrupt
        ));
    }
    if rejected.kept > 0 {
        troubles.push(format!(
            "DataStorage rejected {} events; see `gateway events list`",
            rejected.kept
        ));
    }
    troubles
}

/// After the last response: waits for work that continues without a client, then for the spool.
async fn end(config: &Config, limits: &Limits, resolved: impl Future<Output = ()>, spool: &Spool) {
    let deadline = Instant::now() + Duration::from_millis(config.spool.flush_ms);
    let _ = tokio::time::timeout_at(deadline, limits.idle()).await;
    resolved.await;
    let mut pending = spool.pending();
    let flushed = pending.wait_for(|pending| pending.events == 0 && pending.in_memory == 0);
    let _ = tokio::time::timeout_at(deadline, flushed).await;
    spool.close();
    let events = spool.pending().borrow().events;
    if events > 0 {
        tracing::warn!(
            events,
            directory = %spool.directory().display(),
            "DataStorage did not acknowledge all audit events; the rest stays in the spool, and is delivered when a Gateway starts with this folder"
        );
    }
    tracing::info!(events, "stopped");
}
