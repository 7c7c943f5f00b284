//! The providers: where a run puts the stack, each with the data that only it needs.

use std::path::PathBuf;

use super::{settings::Settings, shared_cluster};
use crate::{run_folder::ProviderName, yaml::Object};

/// Where a run puts the stack.
#[derive(Debug, Clone)]
pub(crate) enum Provider {
    Kind(Kind),
    Local(Local),
    Cluster(Cluster),
}

/// A kind cluster in podman on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    /// Node image; `None` for the one that the kind release pins.
    pub(crate) node_image: Option<String>,
}

/// Processes of this machine, with the embedded Kubernetes API.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    /// Installed program of the embedded Kubernetes API; `None` where the workspace builds it.
    pub(crate) kube_embedded: Option<PathBuf>,
    /// Port of the embedded Kubernetes API on 127.0.0.1.
    pub(crate) api_port: u16,
}

/// A namespace of an existing cluster.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// Context of the user's kubeconfig.
    pub(crate) context: String,
    /// Registry that the cluster's nodes pull from: `HOST/PATH`, without a trailing slash.
    pub(crate) registry: String,
}

impl Provider {
    /// Name on the command line, in reports and in `owner.json`.
    pub(crate) fn name(&self) -> ProviderName {
        match self {
            Self::Kind(_) => ProviderName::Kind,
            Self::Local(_) => ProviderName::Local,
            Self::Cluster(_) => ProviderName::Cluster,
        }
    }

    /// Command-line arguments that select the same provider for another run.
    pub(crate) fn arguments(&self) -> String {
        let provider = format!("--provider {}", self.name());
        match self {
            Self::Kind(_) | Self::Local(_) => provider,
            Self::Cluster(Cluster { context, registry }) => {
                format!("{provider} --context {context} --registry {registry}")
            }
        }
    }

    /// First part of the names of the images that a run builds or pushes.
    pub(crate) fn image_prefix(&self) -> &str {
        match self {
            Self::Kind(_) | Self::Local(_) => "localhost",
            Self::Cluster(Cluster { registry, .. }) => registry,
        }
    }

    /// Kubernetes' `imagePullPolicy`: whether nodes may pull images themselves.
    pub(crate) fn pull_policy(&self) -> &'static str {
        match self {
            Self::Kind(_) | Self::Local(_) => "Never",
            Self::Cluster(_) => "IfNotPresent",
        }
    }

    /// Returns a manifest's object as it is applied on this provider.
    pub(crate) fn adapted(&self, settings: &Settings, object: Object) -> Object {
        match self {
            Self::Kind(_) | Self::Local(_) => object,
            Self::Cluster(_) => shared_cluster::adapted(settings, object),
        }
    }
}
