//! What the deployment is made of, as far as scenarios can disturb it.

use std::fmt;

/// A part of the deployment that scenarios share or hold alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The Gateway service.
    Gateway,
    /// The DataStorage service.
    DataStorage,
    /// DataStorage's database.
    PostgreSql,
    /// DataStorage's stream.
    Redis,
    /// The Kubernetes API as the Gateway sees it.
    Kubernetes,
}

impl Part {
    /// The name in stack.toml, by which the control command knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::DataStorage => "datastorage",
            Self::PostgreSql => "postgresql",
            Self::Redis => "redis",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// Whether it is one of our services, with health endpoints and logs.
    pub(crate) fn is_service(self) -> bool {
        matches!(self, Self::Gateway | Self::DataStorage)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
