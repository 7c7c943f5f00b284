//! The service from its start to its end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use prometheus_client::registry::Registry;
use service::health::{self, ReadinessCell, Status};
use service::server::{self, Lifecycle, Listeners};
use tokio::sync::{Semaphore, watch};

use crate::audit::delivery::{Delivery, Health};
use crate::audit::spool::{Pending, Spool};
use crate::cluster::access::Access;
use crate::cluster::breaker::{Breaker, State};
use crate::cluster::kubernetes::Kubernetes;
use crate::cluster::owners::Owners;
use crate::cluster::watch::{self as cluster_watch, Progress};
use crate::config::{Auth, AuthMode, Config, FingerprintOf};
use crate::deduplicate::Deduplicator;
use crate::domain::index::Index;
use crate::gateway::Gateway;
use crate::http::{self, App};
use crate::metrics::{Gauges, Metrics};

/// How often readiness is looked at for what no message tells of, such as the age of events and the breaker.
const LOOK: Duration = Duration::from_secs(1);
/// Connecting to an API server takes milliseconds; on a machine that is short of time, seconds.
const CONNECT: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT, then ends in order: readiness, requests in flight, spool.
///
/// # Errors
/// It can't start: the cluster's configuration, the spool or a listener; each says which and why.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let listeners = Listeners::bind(config.addresses()).await?;
    let lifecycle = Lifecycle::default();
    tokio::spawn(server::stop_on_signal(&lifecycle)?);

    let spool = Arc::new(Spool::open(config.spool.clone())?);
    let client = client(&config)
        .await
        .context("the Kubernetes API's configuration can't be used")?;
    let breaker = Arc::new(Breaker::new(config.breaker));
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    registry.register_collector(Box::new(Gauges {
        spool: spool.pending(),
        breaker: Arc::clone(&breaker),
    }));

    let (delivery_health, delivered) = watch::channel(Health::Unknown);
    let url = config.datastorage.url.parse()?;
    let token_file = config.datastorage.token_file.clone();
    let delivery = Delivery::new(
        &url,
        token_file,
        Arc::clone(&spool),
        delivery_health,
        metrics.clone(),
    )?;
    tokio::spawn(delivery.run());

    let index = Arc::new(Mutex::new(Index::default()));
    let (progress, synced) = watch::channel(Progress::Starting {
        detail: "not asked yet".to_owned(),
    });
    tokio::spawn(cluster_watch::feed(client.clone(), Arc::clone(&index), progress));
    let readiness = ReadinessCell::default();
    let known = Known {
        progress: synced.clone(),
        breaker: Arc::clone(&breaker),
        delivered,
        spool: spool.pending(),
    };
    tokio::spawn(known.keep(readiness.clone()));

    let requests = Kubernetes::new(client, config.retry, breaker);
    let interval = Duration::from_millis(config.deduplication.interval_ms);
    let fallback = config.kubernetes.fallback_namespace.clone();
    let owners = matches!(config.deduplication.fingerprint, FingerprintOf::Owner);
    let owners = owners.then(|| Arc::new(Owners::new(requests.clone())));
    let access = access(&config, &requests);
    let deduplicator = Deduplicator::new(requests, index, fallback, interval);
    let in_flight = Arc::new(Semaphore::new(config.http.in_flight));
    let app = App {
        gateway: Gateway::new(deduplicator, Arc::clone(&spool), metrics, synced, owners),
        access,
        in_flight: Arc::clone(&in_flight),
        deadline: Duration::from_millis(config.http.deadline_ms),
        body_bytes: config.http.body_bytes,
        cors_origins: config
            .http
            .cors_origins
            .iter()
            .map(|origin| origin.parse())
            .collect::<Result<_, _>>()?,
    };
    let version = service::version(env!("CARGO_PKG_VERSION"));
    let addresses = listeners.addresses()?;
    tracing::info!(%version, environment = config.environment, api = %addresses.api, health = %addresses.health,
        metrics = %addresses.metrics, "serving");
    let health = health::router("gateway", version, lifecycle.clone(), readiness);
    let side = listeners.serve_health(health, health::metrics(Arc::new(registry)));
    let side = side.serve_api(http::router(app), lifecycle, config.stop()).await;
    end(&config, &in_flight, &spool).await;
    drop(side);
    Ok(())
}

fn access(config: &Config, kubernetes: &Kubernetes) -> Option<Arc<Access>> {
    let Auth {
        mode,
        service,
        namespace,
        remember_ms,
    } = config.auth.clone();
    match mode {
        AuthMode::Off => None,
        AuthMode::Kubernetes => {
            let remembered_for = Duration::from_millis(remember_ms);
            Some(Arc::new(Access::new(
                kubernetes.clone(),
                service,
                namespace,
                remembered_for,
            )))
        }
    }
}

async fn client(config: &Config) -> anyhow::Result<kube::Client> {
    let mut settings = match &config.kubernetes.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).with_context(|| path.display().to_string())?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => {
            kube::Config::incluster().context("kubernetes.kubeconfig is not given, and this is no pod")?
        }
    };
    settings.connect_timeout = Some(CONNECT);
    // Calls are tried again where it is known whether that helps.
    settings.default_retry = false;
    Ok(kube::Client::try_from(settings)?)
}

/// What readiness is made of.
struct Known {
    progress: watch::Receiver<Progress>,
    breaker: Arc<Breaker>,
    delivered: watch::Receiver<Health>,
    spool: watch::Receiver<Pending>,
}

impl Known {
    /// Keeps `readiness` true. The service is ready from when it knows the cluster, also while the cluster or
    /// DataStorage is away: senders are then told to come again, and events wait.
    async fn keep(mut self, readiness: ReadinessCell) {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            self.tell(&readiness);
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

    fn tell(&mut self, readiness: &ReadinessCell) {
        let progress = self.progress.borrow_and_update().clone();
        let (status, detail) = match (&progress, self.breaker.state()) {
            (Progress::Starting { detail } | Progress::Broken { detail }, _) => {
                (Status::Down, detail.clone())
            }
            (Progress::Synced, State::Open) => (Status::Down, "the circuit breaker is open".to_owned()),
            (Progress::Synced, _) => (Status::Ok, String::new()),
        };
        readiness.dependency("kubernetes", status, detail);
        let (status, detail) = match &*self.delivered.borrow_and_update() {
            Health::Away { detail } => (Status::Down, detail.clone()),
            Health::Unknown | Health::Working => (Status::Ok, String::new()),
        };
        readiness.dependency("datastorage", status, detail);
        let Pending {
            lost,
            in_memory,
            trouble,
            ..
        } = self.spool.borrow().clone();
        let (status, detail) = match trouble {
            Some(trouble) => (
                Status::Down,
                format!("{trouble}; {in_memory} events wait in memory, {lost} are lost"),
            ),
            None if lost > 0 => (Status::Ok, format!("{lost} events are lost since the start")),
            None => (Status::Ok, String::new()),
        };
        readiness.dependency("spool", status, detail);
        readiness.update(|readiness| readiness.ready |= progress == Progress::Synced);
    }
}

/// After the last answer: the work that goes on without a client, then the spool.
async fn end(config: &Config, in_flight: &Semaphore, spool: &Spool) {
    let patience = Duration::from_millis(config.stop.flush_ms);
    let all = u32::try_from(config.http.in_flight).unwrap_or(u32::MAX);
    let mut pending = spool.pending();
    let flushed = tokio::time::timeout(patience, async {
        // All permits are back when nothing is worked on any more.
        let _ = in_flight.acquire_many(all).await;
        let _ = pending
            .wait_for(|pending| pending.events == 0 && pending.in_memory == 0)
            .await;
    });
    if flushed.await.is_err() {
        let events = spool.pending().borrow().events;
        tracing::warn!(
            events,
            "DataStorage did not take all audit events; the rest stays in the spool"
        );
    }
    spool.close();
    tracing::info!("stopped");
}
