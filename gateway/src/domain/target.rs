//! The object that a signal is about.

/// An object of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its namespace, whether or not it exists.
    pub namespace: String,
    /// Its kind, such as `Pod`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The namespace of objects without one.
pub const DEFAULT_NAMESPACE: &str = "default";
