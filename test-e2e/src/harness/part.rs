//! Components of the deployment, as far as scenarios can disturb them.

use std::fmt;

/// A component of the deployment that scenarios use shared or exclusively.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The Gateway service.
    Gateway,
    /// The DataStorage service.
    DataStorage,
    /// DataStorage's database.
    PostgreSql,
    /// DataStorage's fallback.
    Redis,
    /// The Kubernetes API as the Gateway sees it.
    Kubernetes,
}

impl Part {
    /// The name in stack.toml, which the control command uses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::DataStorage => "datastorage",
            Self::PostgreSql => "postgresql",
            Self::Redis => "redis",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// Whether it is one of the two services, with health endpoints and JSON logs.
    pub(crate) fn is_service(self) -> bool {
        matches!(self, Self::Gateway | Self::DataStorage)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
