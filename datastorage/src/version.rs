//! Which build this is.

/// The version that is answered and logged.
pub(crate) fn version() -> String {
    service::version(env!("CARGO_PKG_VERSION"))
}
