//! The variable `EMBEDDED_SERVERS`: find programs, fetch them, or either.

use std::env;

use anyhow::bail;

/// Allowed sources of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// From this machine if it has them, otherwise fetched.
    Either,
    /// From this machine only.
    Find,
    /// Always fetched.
    Fetch,
}

/// Returns the choice of the environment.
///
/// # Errors
/// If the value is neither `find` nor `fetch`.
pub(crate) fn choice() -> anyhow::Result<Choice> {
    match env::var("EMBEDDED_SERVERS").as_deref() {
        Err(_) | Ok("") => Ok(Choice::Either),
        Ok("find") => Ok(Choice::Find),
        Ok("fetch") => Ok(Choice::Fetch),
        Ok(other) => bail!("invalid EMBEDDED_SERVERS {other:?}; use `find` or `fetch`, or unset it for both"),
    }
}
