//! The service's metrics. docs/datastorage.md describes their use.

mod log;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::domain::fields::Invalid;
use crate::store::stream::{Flaw, Kind};

pub(crate) use log::LogMetrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Table {
    table: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stream {
    stream: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    field: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Query {
    query: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Response {
    endpoint: String,
    method: String,
    status: u16,
}

/// Why a write got 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The queue of the committers is full.
    QueueFull,
    /// PostgreSQL is unavailable, and the stream has reached a bound.
    StreamFull,
    /// PostgreSQL is unavailable, and Redis has reached its `maxmemory`.
    RedisFull,
    /// Neither store is available.
    Unavailable,
    /// Neither store responded in time.
    Timeout,
}

impl Rejection {
    const ALL: [Self; 5] = [
        Self::QueueFull,
        Self::StreamFull,
        Self::RedisFull,
        Self::Unavailable,
        Self::Timeout,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::StreamFull => "stream_full",
            Self::RedisFull => "redis_full",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
        }
    }

    /// The public message.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::QueueFull => "too many writes are waiting",
            Self::StreamFull => "the database is unavailable and the stream is full",
            Self::RedisFull => "the database is unavailable and the stream's server has no memory left",
            Self::Unavailable => "neither the database nor the stream accepts writes",
            Self::Timeout => {
                "neither the database nor the stream responded in time; send it again with the same event_id, \
                 repeats are harmless"
            }
        }
    }
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Every metric of the service.
#[derive(Debug)]
pub(crate) struct Metrics {
    write_duration: Histograms<Table>,
    audit_lag: Histogram,
    clock_skew: Counter,
    validation_failures: Family<Failure, Counter>,
    depth: Family<Stream, Gauge>,
    oldest: Family<Stream, Gauge>,
    spilled: Family<Stream, Counter>,
    drained: Family<Stream, Counter>,
    dead_lettered: Family<Stream, Counter>,
    dead: Family<Stream, Gauge>,
    stuck: Family<Stream, Gauge>,
    spill_bytes: Gauge,
    spill_max_bytes: Gauge,
    rejected: Family<Reason, Counter>,
    redis_flaws: Family<Reason, Gauge>,
    /// Of the transparency log, and of verification.
    pub(crate) log: LogMetrics,
    group_size: Histogram,
    commit_duration: Histogram,
    query_duration: Histograms<Query>,
    requests: Histograms<Response>,
}

/// From half a millisecond to ten seconds.
fn seconds() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
        10.0,
    ])
}

impl Metrics {
    /// Creates and registers all metrics.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            write_duration: Family::new_with_constructor(seconds),
            audit_lag: Histogram::new([
                0.01, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 3600.0, 86_400.0, 604_800.0,
            ]),
            clock_skew: Counter::default(),
            validation_failures: Family::default(),
            depth: Family::default(),
            oldest: Family::default(),
            spilled: Family::default(),
            drained: Family::default(),
            dead_lettered: Family::default(),
            dead: Family::default(),
            stuck: Family::default(),
            spill_bytes: Gauge::default(),
            spill_max_bytes: Gauge::default(),
            rejected: Family::default(),
            redis_flaws: Family::default(),
            log: LogMetrics::default(),
            group_size: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1000.0]),
            commit_duration: seconds(),
            query_duration: Family::new_with_constructor(seconds),
            requests: Family::new_with_constructor(seconds),
        };
        metrics.register(registry);
        // A counter that is absent until something fails cannot be alerted on.
        for kind in Kind::ALL {
            let stream = Stream {
                stream: kind.as_str(),
            };
            drop(metrics.spilled.get_or_create(&stream));
            drop(metrics.drained.get_or_create(&stream));
            drop(metrics.dead_lettered.get_or_create(&stream));
            drop(metrics.depth.get_or_create(&stream));
            drop(metrics.oldest.get_or_create(&stream));
            drop(metrics.dead.get_or_create(&stream));
            drop(metrics.stuck.get_or_create(&stream));
        }
        for rejection in Rejection::ALL {
            drop(metrics.rejected.get_or_create(&Reason {
                reason: rejection.as_str(),
            }));
        }
        for reason in Flaw::NAMES {
            drop(metrics.redis_flaws.get_or_create(&Reason { reason }));
        }
        for table in ["audit_events", "audit_notifications"] {
            drop(metrics.write_duration.get_or_create(&Table { table }));
        }
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, metric: Registered<'_>| match metric {
            Registered::Histogram(metric) => registry.register(name, help, metric.clone()),
            Registered::Gauges(metric) => registry.register(name, help, metric.clone()),
            Registered::Counters(metric) => registry.register(name, help, metric.clone()),
        };
        use Registered::{Counters, Gauges, Histogram as One};
        add(
            "datastorage_audit_lag_seconds",
            "Time from an event's timestamp to its arrival",
            One(&self.audit_lag),
        );
        add(
            "datastorage_commit_group_size",
            "Events per transaction",
            One(&self.group_size),
        );
        add(
            "datastorage_commit_duration_seconds",
            "Duration of a group's transaction",
            One(&self.commit_duration),
        );
        add(
            "datastorage_spill_entries",
            "Stream entries waiting for PostgreSQL",
            Gauges(&self.depth),
        );
        add(
            "datastorage_spill_oldest_seconds",
            "Age of the oldest waiting stream entry",
            Gauges(&self.oldest),
        );
        add(
            "datastorage_spill_added",
            "Entries added to a stream",
            Counters(&self.spilled),
        );
        add(
            "datastorage_spill_drained",
            "Stream entries stored in PostgreSQL",
            Counters(&self.drained),
        );
        add(
            "datastorage_dead_lettered",
            "Dead-lettered entries",
            Counters(&self.dead_lettered),
        );
        add(
            "datastorage_dead_letters",
            "Entries in the dead-letter queue",
            Gauges(&self.dead),
        );
        add(
            "datastorage_spill_stuck",
            "1 if PostgreSQL is available and the oldest stream entry still waits",
            Gauges(&self.stuck),
        );
        registry.register(
            "datastorage_clock_skew",
            "Accepted events and notifications whose time is out of the bounds of [clock]",
            self.clock_skew.clone(),
        );
        registry.register(
            "datastorage_spill_bytes",
            "Bytes of both streams and their dead-letter queues",
            self.spill_bytes.clone(),
        );
        registry.register(
            "datastorage_spill_max_bytes",
            "Bound of datastorage_spill_bytes",
            self.spill_max_bytes.clone(),
        );
        registry.register(
            "datastorage_writes_rejected",
            "Writes answered 503",
            self.rejected.clone(),
        );
        registry.register(
            "datastorage_redis_unsafe",
            "1 for each setting of Redis that can lose acknowledged entries",
            self.redis_flaws.clone(),
        );
        self.log.register(registry);
        registry.register(
            "datastorage_validation_failures",
            "Rejected fields",
            self.validation_failures.clone(),
        );
        registry.register(
            "datastorage_write_duration_seconds",
            "Time from the arrival of a write to its response",
            self.write_duration.clone(),
        );
        registry.register(
            "datastorage_query_duration_seconds",
            "Time from the arrival of a query to its response",
            self.query_duration.clone(),
        );
        registry.register(
            "datastorage_http_request_duration_seconds",
            "Duration of HTTP requests",
            self.requests.clone(),
        );
    }

    /// Records a committed group.
    pub(crate) fn group(&self, events: usize, duration: Duration) {
        self.group_size.observe(events as f64);
        self.commit_duration.observe(duration.as_secs_f64());
    }

    /// Records entries added to a stream.
    pub(crate) fn spilled(&self, kind: Kind, entries: usize) {
        self.spilled
            .get_or_create(&Stream {
                stream: kind.as_str(),
            })
            .inc_by(entries as u64);
    }

    /// Records stored stream entries.
    pub(crate) fn drained(&self, kind: Kind, entries: usize) {
        self.drained
            .get_or_create(&Stream {
                stream: kind.as_str(),
            })
            .inc_by(entries as u64);
    }

    /// Records a dead-lettered entry.
    pub(crate) fn dead_lettered(&self, kind: Kind) {
        self.dead_lettered
            .get_or_create(&Stream {
                stream: kind.as_str(),
            })
            .inc();
    }

    /// Records a write that neither store accepted.
    pub(crate) fn rejected(&self, rejection: Rejection) {
        self.rejected
            .get_or_create(&Reason {
                reason: rejection.as_str(),
            })
            .inc();
    }

    /// Records which settings of Redis can lose entries, of [`Flaw::NAMES`].
    pub(crate) fn redis_flaws(&self, found: &[&'static str]) {
        for reason in Flaw::NAMES {
            self.redis_flaws
                .get_or_create(&Reason { reason })
                .set(found.contains(&reason).into());
        }
    }

    /// Records the size of the streams, and its bound.
    pub(crate) fn spill_bytes(&self, bytes: u64, max_bytes: u64) {
        self.spill_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.spill_max_bytes
            .set(i64::try_from(max_bytes).unwrap_or(i64::MAX));
    }

    /// Records whether the drain of a stream is stuck.
    pub(crate) fn stuck(&self, kind: Kind, is_stuck: bool) {
        let stream = kind.as_str();
        self.stuck.get_or_create(&Stream { stream }).set(is_stuck.into());
    }

    /// Records the state of a stream.
    pub(crate) fn stream(&self, kind: Kind, depth: u64, oldest: Duration, dead: u64) {
        let stream = Stream {
            stream: kind.as_str(),
        };
        self.depth
            .get_or_create(&stream)
            .set(i64::try_from(depth).unwrap_or(i64::MAX));
        self.oldest
            .get_or_create(&stream)
            .set(i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX));
        self.dead
            .get_or_create(&stream)
            .set(i64::try_from(dead).unwrap_or(i64::MAX));
    }

    /// Records an acknowledged write.
    pub(crate) fn write(&self, table: &'static str, duration: Duration) {
        self.write_duration
            .get_or_create(&Table { table })
            .observe(duration.as_secs_f64());
    }

    /// Records the delay between an event's timestamp and its arrival.
    pub(crate) fn lag(&self, micros: i64) {
        self.audit_lag.observe(micros.max(0) as f64 / 1e6);
    }

    /// Records an event or notification whose clock is off.
    pub(crate) fn clock_skew(&self) {
        self.clock_skew.inc();
    }

    /// Records a query.
    pub(crate) fn query(&self, query: &'static str, duration: Duration) {
        self.query_duration
            .get_or_create(&Query { query })
            .observe(duration.as_secs_f64());
    }

    /// Records rejected fields.
    pub(crate) fn invalid(&self, invalid: &[Invalid]) {
        for Invalid { field, reason, .. } in invalid {
            // The names of unknown fields are the clients' and unbounded.
            let known = *reason != crate::domain::fields::Reason::Unknown;
            let field = if known { field.clone() } else { "other".to_owned() };
            self.validation_failures
                .get_or_create(&Failure {
                    field,
                    reason: reason.as_str(),
                })
                .inc();
        }
    }

    /// Records a response.
    pub(crate) fn response(&self, endpoint: &str, method: &str, status: u16, seconds: f64) {
        // A client can send any method.
        let method = match method {
            known @ ("GET" | "POST" | "PATCH" | "DELETE" | "PUT" | "HEAD" | "OPTIONS") => known,
            _ => "other",
        };
        let response = Response {
            endpoint: endpoint.to_owned(),
            method: method.to_owned(),
            status,
        };
        self.requests.get_or_create(&response).observe(seconds);
    }
}

enum Registered<'a> {
    Histogram(&'a Histogram),
    Gauges(&'a Family<Stream, Gauge>),
    Counters(&'a Family<Stream, Counter>),
}
