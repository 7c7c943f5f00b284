//! Providers of `cargo xtask e2e`.

use std::fmt;

use clap::ValueEnum;
use serde::Deserialize;

/// Name of a provider: where a run puts the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProviderName {
    /// A kind cluster in podman on this machine
    Kind,
    /// Processes on this machine, with the embedded Kubernetes API
    Local,
    /// A namespace of an existing cluster
    Cluster,
}

impl fmt::Display for ProviderName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kind => "kind",
            Self::Local => "local",
            Self::Cluster => "cluster",
        })
    }
}
