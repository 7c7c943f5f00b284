//! Why something failed, in the words of what failed first.

/// The innermost reason: the outer ones of an HTTP client say only that a request failed, and to which address.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
