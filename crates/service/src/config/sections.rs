//! The sections that the configurations of both services share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, Ranges};

/// The environment; production rejects settings that are only acceptable for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Environment {
    /// Clients and stores are authenticated and encrypted.
    #[default]
    Production,
    /// A developer's machine.
    Development,
    /// A test's stack.
    Test,
}

/// Log output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Log {
    /// Log filter, such as `info` or `info,access=warn`; the variable RUST_LOG overrides it.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
        }
    }
}

/// Listeners and limits. Port 0 selects a free port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Http {
    /// Address of the API.
    #[schemars(with = "String")]
    pub api: SocketAddr,
    /// Address of `/healthz` and `/readyz`.
    #[schemars(with = "String")]
    pub health: SocketAddr,
    /// Address of `/metrics`.
    #[schemars(with = "String")]
    pub metrics: SocketAddr,
    /// File to which the bound addresses are written as JSON once all three listen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses_file: Option<PathBuf>,
    /// Maximum body size in bytes.
    pub max_body_bytes: usize,
    /// Maximum bytes of all bodies in flight, each counted twice: as received, and as parsed. A body that exceeds them
    /// waits up to 2 seconds before it gets 503. 0 in DataStorage: a part of memory.budget_bytes.
    pub max_bodies_bytes: usize,
    /// Maximum time until the response to a request begins.
    pub request_timeout_ms: u64,
    /// Maximum time to receive the headers of a request, on an idle connection too.
    pub header_timeout_ms: u64,
    /// Maximum time in which a client accepts no byte of a response; after it the connection is closed.
    pub write_timeout_ms: u64,
    /// Maximum number of concurrent requests; further ones get 503.
    pub max_in_flight: usize,
    /// Origins whose pages may call the API, such as `https://console.example.com`.
    pub cors_origins: Vec<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            api: SocketAddr::from(([0, 0, 0, 0], 8080)),
            health: SocketAddr::from(([0, 0, 0, 0], 8081)),
            metrics: SocketAddr::from(([0, 0, 0, 0], 9090)),
            addresses_file: None,
            max_body_bytes: 256 << 10,
            max_bodies_bytes: 32 << 20,
            request_timeout_ms: 15_000,
            header_timeout_ms: 30_000,
            write_timeout_ms: 30_000,
            max_in_flight: 2_048,
            cors_origins: Vec::new(),
        }
    }
}

impl Http {
    /// Adds the errors of the section `[http]`.
    pub fn check(&self, errors: &mut Vec<ConfigError>) {
        let mut ranges = Ranges(errors);
        ranges.check(
            "http.max_body_bytes",
            self.max_body_bytes as u64,
            1_024..=64 << 20,
        );
        ranges.check(
            "http.max_bodies_bytes",
            self.max_bodies_bytes as u64,
            2 * self.max_body_bytes as u64..=4 << 30,
        );
        ranges.check("http.write_timeout_ms", self.write_timeout_ms, 100..=300_000);
        ranges.check("http.request_timeout_ms", self.request_timeout_ms, 100..=300_000);
        ranges.check("http.header_timeout_ms", self.header_timeout_ms, 100..=300_000);
        ranges.check("http.max_in_flight", self.max_in_flight as u64, 1..=100_000);
        for (field, address, other, other_address) in [
            ("http.health", self.health, "http.api", self.api),
            ("http.metrics", self.metrics, "http.api", self.api),
            ("http.metrics", self.metrics, "http.health", self.health),
        ] {
            if address == other_address && address.port() != 0 {
                let reason = format!("{other} has the same address; give each its own port");
                errors.push(ConfigError::new(field, address, reason));
            }
        }
        for origin in &self.cors_origins {
            if !is_origin(origin) {
                let reason = "is not an origin; write scheme://host or scheme://host:port, one per entry";
                errors.push(ConfigError::new("http.cors_origins", origin, reason));
            }
        }
    }
}

/// An origin as browsers send it: scheme, host and optional port, without a wildcard.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<axum::http::Uri>() else {
        return false;
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return false;
    };
    // A host of `*` is a valid URI.
    !authority.host().contains('*')
        && format!("{scheme}://{authority}") == text
        && text == text.to_lowercase()
}

/// Whether clients are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum AuthMode {
    /// Every client is accepted.
    Off,
    /// Bearer tokens are reviewed and authorized by the Kubernetes API.
    Kubernetes,
}

/// Authentication and authorization of clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Auth {
    /// `off` or `kubernetes` (TokenReview, then SubjectAccessReview); unset: `kubernetes` in production, else `off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,
    /// Access to the Kubernetes API for reviews; unset: as for the service itself, or as in a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Accepted audiences of a token; empty: the API server's.
    pub audiences: Vec<String>,
    /// Namespace of `auth.service`.
    pub namespace: String,
    /// The Service on which a client needs the verb of its request.
    pub service: String,
    /// How long a decision of the Kubernetes API is cached.
    pub cache_ttl_ms: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: None,
            kubeconfig: None,
            audiences: Vec::new(),
            namespace: "kubernaut-system".to_owned(),
            service: String::new(),
            cache_ttl_ms: 10_000,
        }
    }
}

impl Auth {
    /// The mode in effect.
    #[must_use]
    pub fn mode(&self, environment: Environment) -> AuthMode {
        self.mode.unwrap_or(match environment {
            Environment::Production => AuthMode::Kubernetes,
            Environment::Development | Environment::Test => AuthMode::Off,
        })
    }

    /// Adds the errors of the section `[auth]`.
    pub fn check(&self, environment: Environment, errors: &mut Vec<ConfigError>) {
        Ranges(errors).check("auth.cache_ttl_ms", self.cache_ttl_ms, 0..=600_000);
        if self.mode == Some(AuthMode::Off) && environment == Environment::Production {
            let reason =
                "clients must be authenticated in production; remove the key, or use another environment";
            errors.push(ConfigError::new("auth.mode", "\"off\"", reason));
        }
        for (field, text) in [
            ("auth.namespace", &self.namespace),
            ("auth.service", &self.service),
        ] {
            if text.is_empty() {
                errors.push(ConfigError::new(field, "\"\"", "write a name"));
            }
        }
    }
}

/// The ordered stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Stop {
    /// How long new connections are accepted after readiness ends, so that a cluster stops sending them.
    pub announce_ms: u64,
    /// Maximum time of requests in flight after that.
    pub drain_ms: u64,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            announce_ms: 3_000,
            drain_ms: 15_000,
        }
    }
}

impl Stop {
    /// [`Self::announce_ms`] as a duration.
    #[must_use]
    pub fn announce(self) -> Duration {
        Duration::from_millis(self.announce_ms)
    }

    /// [`Self::drain_ms`] as a duration.
    #[must_use]
    pub fn drain(self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }

    /// Adds the errors of the section `[stop]`; `finish_ms` is the service's own time after the drain. Together they
    /// must end before Kubernetes kills the pod, 30 seconds after SIGTERM.
    pub fn check(self, finish_ms: u64, errors: &mut Vec<ConfigError>) {
        let mut ranges = Ranges(errors);
        ranges.check("stop.announce_ms", self.announce_ms, 0..=20_000);
        ranges.check("stop.drain_ms", self.drain_ms, 0..=25_000);
        let sum = self
            .announce_ms
            .saturating_add(self.drain_ms)
            .saturating_add(finish_ms);
        if sum > 30_000 {
            let reason = format!(
                "announce_ms + drain_ms and the service's own {finish_ms} ms must not exceed the 30000 ms of a pod"
            );
            errors.push(ConfigError::new("stop", sum, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_exactly_what_browsers_send() {
        for good in ["https://a.example", "http://localhost:3000"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "*",
            "https://*",
            "https://a.example/",
            "a.example",
            "https://A.example",
            "https://a.example/x",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn clients_are_authenticated_in_production_by_default() {
        let auth = Auth::default();
        assert_eq!(auth.mode(Environment::Production), AuthMode::Kubernetes);
        assert_eq!(auth.mode(Environment::Test), AuthMode::Off);
        let off = Auth {
            mode: Some(AuthMode::Off),
            service: "a".to_owned(),
            ..auth
        };
        let mut errors = Vec::new();
        off.check(Environment::Production, &mut errors);
        assert_eq!(errors[0].field, "auth.mode");
    }
}
