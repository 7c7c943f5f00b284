//! The root cause of an error.

/// The innermost error: the outer ones of an HTTP client say only that a request failed, and to which address.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
