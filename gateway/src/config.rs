//! The Gateway's configuration, as `docs/gateway.md` describes it. What is not given has the defaults here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::config::{Mistake, Validate};
use service::server::{Addresses, Stop};

use crate::audit::spool;
use crate::cluster::{breaker, retry};
use crate::domain::request::is_namespace_name;

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where this runs; told in log lines only.
    pub environment: String,
    /// What is logged, in `tracing`'s directives.
    pub log: Log,
    /// Listeners and limits.
    pub http: Http,
    /// The cluster.
    pub kubernetes: Kubernetes,
    /// Where audit events go.
    pub datastorage: DataStorage,
    /// Where audit events wait.
    pub spool: spool::Settings,
    /// How signals become requests.
    pub deduplication: Deduplication,
    /// Who may send signals.
    pub auth: Auth,
    /// How often calls of the Kubernetes API are tried.
    pub retry: retry::Policy,
    /// When no call is tried any more.
    pub breaker: breaker::Settings,
    /// How the service ends.
    pub stop: Stopping,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Such as `info` or `info,gateway=debug`.
    pub filter: String,
}

/// Listeners and limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where signals are taken.
    pub api: SocketAddr,
    /// Where `/healthz` and `/readyz` are.
    pub health: SocketAddr,
    /// Where `/metrics` is.
    pub metrics: SocketAddr,
    /// The longest body.
    pub body_bytes: usize,
    /// How long a request may take.
    pub deadline_ms: u64,
    /// How many requests are worked on at once; more get 429.
    pub in_flight: usize,
    /// Origins whose pages may send signals, such as `https://console.example.com`.
    pub cors_origins: Vec<String>,
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// The file that says how to reach it; absent in a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Where requests are made whose own namespace does not exist.
    pub fallback_namespace: String,
}

/// Where audit events go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataStorage {
    /// Its API's address.
    pub url: String,
    /// A bearer token for it, read anew for each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

/// How signals become requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deduplication {
    /// Which signals are the same problem.
    pub fingerprint: FingerprintOf,
    /// The least time between two writes to the same request.
    pub interval_ms: u64,
}

/// Which signals are the same problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FingerprintOf {
    /// Those of the same name about the same object.
    Signal,
    /// All about objects of the same top-level owner.
    Owner,
}

/// Who may send signals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Whether anybody is asked.
    pub mode: AuthMode,
    /// The service on which a sender needs the verb `create`.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// For how long an answer of the cluster is remembered.
    pub remember_ms: u64,
}

/// Whether senders are asked who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Everyone may send.
    Off,
    /// The cluster's accounts and roles decide.
    Kubernetes,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: AuthMode::Off,
            service: "gateway-service".to_owned(),
            namespace: "kubernaut-system".to_owned(),
            remember_ms: 5_000,
        }
    }
}

/// How the service ends; the three together stay below the 30 seconds that a pod is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stopping {
    /// For how long new connections are still taken after readiness turned.
    pub announce_ms: u64,
    /// How long requests in flight are waited for.
    pub drain_ms: u64,
    /// How long DataStorage is waited for to take what is in the spool.
    pub flush_ms: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            api: SocketAddr::from(([0, 0, 0, 0], 8080)),
            health: SocketAddr::from(([0, 0, 0, 0], 8081)),
            metrics: SocketAddr::from(([0, 0, 0, 0], 9090)),
            body_bytes: 256 << 10,
            deadline_ms: 15_000,
            in_flight: 2_048,
            cors_origins: Vec::new(),
        }
    }
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            fallback_namespace: "kubernaut-system".to_owned(),
        }
    }
}

impl Default for DataStorage {
    fn default() -> Self {
        Self {
            url: "http://datastorage:8080".to_owned(),
            token_file: None,
        }
    }
}

impl Default for Deduplication {
    fn default() -> Self {
        Self {
            fingerprint: FingerprintOf::Signal,
            interval_ms: 5,
        }
    }
}

impl Default for Stopping {
    fn default() -> Self {
        Self {
            announce_ms: 3_000,
            drain_ms: 15_000,
            flush_ms: 8_000,
        }
    }
}

impl Config {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        Addresses {
            api: self.http.api,
            health: self.http.health,
            metrics: self.http.metrics,
        }
    }

    /// How the listeners end.
    #[must_use]
    pub fn stop(&self) -> Stop {
        Stop {
            announce: Duration::from_millis(self.stop.announce_ms),
            drain: Duration::from_millis(self.stop.drain_ms),
        }
    }
}

impl Validate for Config {
    fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut between = |field: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                mistakes.push(Mistake::new(
                    field,
                    value,
                    format!("must be from {least} to {most}"),
                ));
            }
        };
        between("http.body_bytes", self.http.body_bytes as u64, 1_024, 1 << 20);
        between("http.deadline_ms", self.http.deadline_ms, 100, 300_000);
        between("http.in_flight", self.http.in_flight as u64, 1, 100_000);
        between("spool.segment_bytes", self.spool.segment_bytes, 4_096, 1 << 30);
        between("spool.max_bytes", self.spool.max_bytes, 1 << 20, 1 << 40);
        between(
            "spool.memory_events",
            self.spool.memory_events as u64,
            1,
            1_000_000,
        );
        between(
            "deduplication.interval_ms",
            self.deduplication.interval_ms,
            0,
            1_000,
        );
        between("auth.remember_ms", self.auth.remember_ms, 0, 60_000);
        between("retry.tries", self.retry.tries.into(), 1, 10);
        between("retry.first_delay_ms", self.retry.first_delay_ms, 1, 10_000);
        between("retry.timeout_ms", self.retry.timeout_ms, 100, 60_000);
        between("breaker.calls", self.breaker.calls as u64, 1, 1_000);
        between("breaker.window_ms", self.breaker.window_ms, 100, 600_000);
        between("breaker.open_ms", self.breaker.open_ms, 100, 600_000);
        between("breaker.probes", self.breaker.probes.into(), 1, 100);
        let stop = self.stop.announce_ms + self.stop.drain_ms + self.stop.flush_ms;
        between("stop.announce_ms + drain_ms + flush_ms", stop, 0, 30_000);
        if !(self.breaker.failed_share > 0.0 && self.breaker.failed_share <= 1.0) {
            let reason = "must be above 0 and at most 1";
            mistakes.push(Mistake::new(
                "breaker.failed_share",
                self.breaker.failed_share,
                reason,
            ));
        }
        if let Err(error) = reqwest::Url::parse(&self.datastorage.url) {
            mistakes.push(Mistake::new(
                "datastorage.url",
                &self.datastorage.url,
                format!("{error}; write http://HOST:PORT"),
            ));
        }
        for origin in &self.http.cors_origins {
            if !is_origin(origin) {
                let reason = "is no origin; write scheme://host or scheme://host:port, and each by itself";
                mistakes.push(Mistake::new("http.cors_origins", origin, reason));
            }
        }
        if !is_namespace_name(&self.kubernetes.fallback_namespace) {
            let reason = "is no namespace's name; lowercase letters, digits and - are, up to 63";
            mistakes.push(Mistake::new(
                "kubernetes.fallback_namespace",
                &self.kubernetes.fallback_namespace,
                reason,
            ));
        }
        mistakes
    }
}

/// An origin as browsers send it: nothing after the host and port, and no wildcard.
fn is_origin(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        match service::config::parse::<Config>("gateway.toml", text, "GATEWAY", []) {
            Ok(_) => Vec::new(),
            Err(service::config::Error::Mistakes { mistakes, .. }) => {
                mistakes.into_iter().map(|mistake| mistake.field).collect()
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_defaults_are_without_mistakes() {
        assert_eq!(mistakes(""), Vec::<String>::new());
    }

    #[test]
    fn every_mistake_is_named() {
        let text = "[http]\nin_flight = 0\ncors_origins = ['*', 'https://a.example', 'https://a.example/']\n[retry]\ntries = 99\n[breaker]\nfailed_share = 2.0\n\
            [kubernetes]\nfallback_namespace = 'No'\n[datastorage]\nurl = 'nowhere'";
        assert_eq!(
            mistakes(text),
            [
                "http.in_flight",
                "retry.tries",
                "breaker.failed_share",
                "datastorage.url",
                "http.cors_origins",
                "http.cors_origins",
                "kubernetes.fallback_namespace"
            ]
        );
    }
}
