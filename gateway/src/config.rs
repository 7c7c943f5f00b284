//! The Gateway's configuration; docs/gateway.md describes it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service::config::{Auth, ConfigError, Environment, Http, Log, Ranges, Stop, Validate};

use crate::audit::spool;
use crate::cluster::{breaker, retry};
use crate::domain::request::is_namespace_name;
use crate::domain::rules::Rules;

/// The prefix of the environment variables.
pub const PREFIX: &str = "GATEWAY";

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// production, development or test. Production requires tokens.
    pub environment: Environment,
    /// Log output.
    pub log: Log,
    /// Listeners and limits. Port 0 selects a free port.
    pub http: Http,
    /// Authentication and authorization of senders.
    pub auth: Auth,
    /// The ordered stop.
    pub stop: Stop,
    /// The cluster.
    pub kubernetes: Kubernetes,
    /// The receiver of audit events.
    pub datastorage: DataStorage,
    /// Audit events that wait for DataStorage.
    pub spool: spool::Settings,
    /// How alerts become signals.
    pub alerts: Rules,
    /// How signals become requests.
    pub deduplication: Deduplication,
    /// Retries of calls to the Kubernetes API.
    pub retry: retry::Policy,
    /// Circuit breaker of the Kubernetes API.
    pub breaker: breaker::Settings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            environment: Environment::default(),
            log: Log::default(),
            http: Http {
                // Alertmanager sends whole groups.
                max_body_bytes: 4 << 20,
                max_bodies_bytes: 12 << 20,
                ..Http::default()
            },
            auth: Auth {
                service: "gateway-service".to_owned(),
                ..Auth::default()
            },
            stop: Stop {
                announce_ms: 3_000,
                drain_ms: 15_000,
            },
            kubernetes: Kubernetes::default(),
            datastorage: DataStorage::default(),
            spool: spool::Settings::default(),
            alerts: Rules::default(),
            deduplication: Deduplication::default(),
            retry: retry::Policy::default(),
            breaker: breaker::Settings::default(),
        }
    }
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Kubernetes {
    /// Access to the Kubernetes API; unset: as in a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of requests whose own namespace does not exist.
    pub fallback_namespace: String,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            fallback_namespace: "kubernaut-system".to_owned(),
        }
    }
}

/// The receiver of audit events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct DataStorage {
    /// URL of its API.
    pub url: String,
    /// File with a bearer token, read for each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

impl Default for DataStorage {
    fn default() -> Self {
        Self {
            url: "http://datastorage:8080".to_owned(),
            token_file: None,
        }
    }
}

/// How signals become requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Deduplication {
    /// signal: one incident is one signal name at one object; owner: all signals about objects of one top-level owner.
    pub fingerprint: FingerprintOf,
    /// Minimum time between two writes to one request.
    pub interval_ms: u64,
    /// How long a delivery without a success is kept: the same bytes again continue it, and count no signal twice.
    pub redelivery_ms: u64,
    /// How long after the end of a request with this outcome (`status.outcome`) its signals create no further one.
    pub cool_down_ms: BTreeMap<String, u64>,
}

impl Deduplication {
    /// [`Self::cool_down_ms`] as durations.
    #[must_use]
    pub fn cool_down(&self) -> BTreeMap<String, Duration> {
        let outcomes = self.cool_down_ms.iter();
        outcomes
            .map(|(outcome, ms)| (outcome.clone(), Duration::from_millis(*ms)))
            .collect()
    }
}

impl Default for Deduplication {
    fn default() -> Self {
        Self {
            fingerprint: FingerprintOf::Signal,
            interval_ms: 5,
            redelivery_ms: 600_000,
            // Longer than Alertmanager's repeat_interval of four hours.
            cool_down_ms: BTreeMap::from([("NoActionRequired".to_owned(), 86_400_000)]),
        }
    }
}

/// What an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum FingerprintOf {
    /// One signal name at one object.
    Signal,
    /// All signals about objects of one top-level owner.
    Owner,
}

impl Validate for Config {
    fn errors(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        self.http.check(&mut errors);
        self.auth.check(self.environment, &mut errors);
        self.stop.check(self.spool.flush_ms, &mut errors);
        self.check_ranges(&mut errors);
        for rule in &self.alerts.targets {
            if rule.label.is_empty() || rule.kind.is_empty() {
                let reason = "has no label or no kind; write { label = \"pod\", kind = \"Pod\" }";
                errors.push(ConfigError::new("alerts.targets", format!("{rule:?}"), reason));
            }
        }
        if let Err(error) = reqwest::Url::parse(&self.datastorage.url) {
            let reason = format!("{error}; write http://HOST:PORT");
            errors.push(ConfigError::new("datastorage.url", &self.datastorage.url, reason));
        }
        let namespace = &self.kubernetes.fallback_namespace;
        if !is_namespace_name(namespace) {
            let reason = "is not a namespace name; write up to 63 lowercase letters, digits and -";
            errors.push(ConfigError::new(
                "kubernetes.fallback_namespace",
                namespace,
                reason,
            ));
        }
        errors
    }
}

impl Config {
    fn check_ranges(&self, errors: &mut Vec<ConfigError>) {
        let mut ranges = Ranges(errors);
        ranges.check("spool.segment_bytes", self.spool.segment_bytes, 4_096..=16 << 20);
        ranges.check("spool.max_bytes", self.spool.max_bytes, 1 << 20..=1 << 40);
        ranges.check(
            "spool.max_rejected_bytes",
            self.spool.max_rejected_bytes,
            1 << 20..=1 << 40,
        );
        ranges.check(
            "spool.memory_events",
            self.spool.memory_events as u64,
            1..=1_000_000,
        );
        ranges.check("spool.flush_ms", self.spool.flush_ms, 0..=25_000);
        ranges.check(
            "deduplication.interval_ms",
            self.deduplication.interval_ms,
            0..=1_000,
        );
        ranges.check(
            "deduplication.redelivery_ms",
            self.deduplication.redelivery_ms,
            0..=86_400_000,
        );
        ranges.check("retry.max_attempts", self.retry.max_attempts.into(), 1..=10);
        ranges.check("retry.first_delay_ms", self.retry.first_delay_ms, 1..=10_000);
        ranges.check("retry.timeout_ms", self.retry.timeout_ms, 100..=60_000);
        ranges.check("breaker.calls", self.breaker.calls as u64, 1..=1_000);
        ranges.check("breaker.window_ms", self.breaker.window_ms, 100..=600_000);
        ranges.check("breaker.open_ms", self.breaker.open_ms, 100..=600_000);
        ranges.check("breaker.probes", self.breaker.probes.into(), 1..=100);
        let ratio = self.breaker.failure_ratio;
        if !(ratio > 0.0 && ratio <= 1.0) {
            errors.push(ConfigError::new(
                "breaker.failure_ratio",
                ratio,
                "must be above 0 and at most 1",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        match service::config::parse::<Config>("gateway.toml", text, PREFIX, []) {
            Ok(_) => Vec::new(),
            Err(service::config::Error::Invalid { errors, .. }) => {
                errors.into_iter().map(|error| error.field).collect()
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn defaults_are_valid() {
        assert_eq!(errors(""), Vec::<String>::new());
    }

    #[test]
    fn every_error_is_named() {
        let text = "[http]\nmax_in_flight = 0\ncors_origins = ['*', 'https://a.example', 'https://a.example/']\n[retry]\nmax_attempts = 99\n[breaker]\nfailure_ratio = 2.0\n\
            [kubernetes]\nfallback_namespace = 'No'\n[datastorage]\nurl = 'nowhere'\n[alerts]\ntargets = [{ label = 'pod', kind = '' }]";
        assert_eq!(
            errors(text),
            [
                "http.max_in_flight",
                "http.cors_origins",
                "http.cors_origins",
                "retry.max_attempts",
                "breaker.failure_ratio",
                "alerts.targets",
                "datastorage.url",
                "kubernetes.fallback_namespace"
            ]
        );
    }

    #[test]
    fn every_key_has_a_doc_comment() {
        assert_eq!(service::config::undocumented::<Config>(), Vec::<String>::new());
    }
}
