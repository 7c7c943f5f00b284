//! The Gateway's metrics. Every label has a handful of values, whatever is sent.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use wire::remediation_request::{Severity, SignalType};

use crate::audit::delivery::Observer;
use crate::audit::rejected::Counts;
use crate::audit::spool::{Pending, now_ms};
use crate::cluster::breakers::Breakers;

/// Bounds of the request histogram, in seconds: a duplicate takes milliseconds, the deadline is 15 s.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0,
];

/// The counters; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    received: Family<SignalLabels, Counter>,
    rejected: Family<SourceLabels, Counter>,
    ignored: Counter,
    deduplicated: Counter,
    created: Counter,
    creation_errors: Family<ErrorLabels, Counter>,
    http: Family<HttpLabels, Histogram, fn() -> Histogram>,
    audit_stored: Counter,
    audit_rejected: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabels {
    source_type: &'static str,
    severity: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    endpoint: String,
    method: &'static str,
    status: u16,
}

impl Metrics {
    /// Creates the counters and registers them.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            received: Family::default(),
            rejected: Family::default(),
            ignored: Counter::default(),
            deduplicated: Counter::default(),
            created: Counter::default(),
            creation_errors: Family::default(),
            http: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            audit_stored: Counter::default(),
            audit_rejected: Counter::default(),
        };
        let Self {
            received,
            rejected,
            ignored,
            deduplicated,
            created,
            creation_errors,
            http,
            audit_stored,
            audit_rejected,
        } = metrics.clone();
        registry.register("gateway_signals_received", "Signals received", received);
        registry.register(
            "gateway_signals_rejected",
            "Signals rejected as invalid",
            rejected,
        );
        registry.register(
            "gateway_signals_ignored",
            "Signals that are ignored by configuration or suppressed",
            ignored,
        );
        registry.register(
            "gateway_signals_deduplicated",
            "Signals counted on an active request",
            deduplicated,
        );
        registry.register("gateway_crds_created", "RemediationRequests created", created);
        registry.register(
            "gateway_crd_creation_errors",
            "Signals whose request could not be created",
            creation_errors,
        );
        registry.register(
            "gateway_http_request_duration_seconds",
            "Duration of HTTP requests",
            http,
        );
        registry.register(
            "gateway_audit_events_stored",
            "Audit events stored by DataStorage",
            audit_stored,
        );
        registry.register(
            "gateway_audit_events_rejected",
            "Audit events rejected by DataStorage",
            audit_rejected,
        );
        metrics
    }

    /// Counts a received signal.
    pub fn received(&self, signal_type: SignalType, severity: Severity) {
        let labels = SignalLabels {
            source_type: signal_type.as_str(),
            severity: severity.as_str(),
        };
        self.received.get_or_create(&labels).inc();
    }

    /// Counts a rejected signal.
    pub fn rejected(&self, signal_type: SignalType) {
        self.rejected
            .get_or_create(&SourceLabels {
                source_type: signal_type.as_str(),
            })
            .inc();
    }

    /// Counts an ignored signal.
    pub fn ignored(&self) {
        self.ignored.inc();
    }

    /// Counts a signal on an active request.
    pub fn deduplicated(&self) {
        self.deduplicated.inc();
    }

    /// Counts a created request.
    pub fn created(&self) {
        self.created.inc();
    }

    /// Counts a request that could not be created.
    pub fn creation_failed(&self, error_type: &'static str) {
        self.creation_errors
            .get_or_create(&ErrorLabels { error_type })
            .inc();
    }

    /// Counts an HTTP request.
    pub fn response(&self, endpoint: &str, method: &str, status: u16, seconds: f64) {
        let method = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
            .into_iter()
            .find(|known| *known == method)
            .unwrap_or("other");
        let labels = HttpLabels {
            endpoint: endpoint.to_owned(),
            method,
            status,
        };
        self.http.get_or_create(&labels).observe(seconds);
    }
}

impl Observer for Metrics {
    fn stored(&self, events: usize) {
        self.audit_stored.inc_by(events as u64);
    }

    fn rejected(&self) {
        self.audit_rejected.inc();
    }
}

/// Values that are read at each scrape.
#[derive(Debug)]
pub struct Gauges {
    /// What waits in the spool.
    pub spool: tokio::sync::watch::Receiver<Pending>,
    /// The rejected audit events that are kept.
    pub rejected: tokio::sync::watch::Receiver<Counts>,
    /// The Kubernetes API's breakers.
    pub breakers: Arc<Breakers>,
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Pending {
            events,
            bytes,
            oldest_ms,
            in_memory,
            lost,
            corrupt,
            ..
        } = self.spool.borrow().clone();
        let rejected = self.rejected.borrow().clone();
        let oldest = oldest_ms.map_or(0.0, |oldest| now_ms().saturating_sub(oldest) as f64 / 1e3);
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge(
            "gateway_audit_spool_events",
            "Audit events in the spool",
            (events + in_memory) as f64,
        )?;
        gauge(
            "gateway_audit_spool_bytes",
            "Size of the spool on disk in bytes",
            bytes as f64,
        )?;
        gauge(
            "gateway_audit_spool_oldest_seconds",
            "Age of the oldest audit event in the spool",
            oldest,
        )?;
        gauge(
            "gateway_audit_spool_corrupt_segments",
            "Damaged segments of the spool that are kept",
            corrupt as f64,
        )?;
        gauge(
            "gateway_audit_rejected_events",
            "Audit events that DataStorage rejected and that are kept",
            rejected.kept as f64,
        )?;
        gauge(
            "gateway_circuit_breaker_open_namespaces",
            "Namespaces and methods whose circuit breaker is not closed",
            self.breakers.open().len() as f64,
        )?;
        let lost = ConstCounter::new(lost + rejected.lost);
        let help = "Audit events lost because disk and memory were full, or because the disk damaged them";
        lost.encode(encoder.encode_descriptor(
            "gateway_audit_events_lost",
            help,
            None,
            lost.metric_type(),
        )?)?;
        let state = ConstGauge::new(self.breakers.state() as i64);
        let help = "State of the circuit breaker: 0 closed, 1 half open, 2 open";
        let mut family =
            encoder.encode_descriptor("gateway_circuit_breaker_state", help, None, state.metric_type())?;
        state.encode(family.encode_family(&[("name", "kubernetes")])?)
    }
}
