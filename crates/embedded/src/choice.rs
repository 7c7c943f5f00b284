//! What `EMBEDDED_SERVERS` chooses: programs that are found, that are fetched, or either.

use std::env;

use anyhow::bail;

/// Where programs may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// From this machine if it has them, else fetched.
    Either,
    /// From this machine alone.
    Find,
    /// Fetched, whatever this machine has.
    Fetch,
}

/// What the environment chooses.
///
/// # Errors
/// If it says anything but `find` and `fetch`.
pub(crate) fn choice() -> anyhow::Result<Choice> {
    match env::var("EMBEDDED_SERVERS").as_deref() {
        Err(_) | Ok("") => Ok(Choice::Either),
        Ok("find") => Ok(Choice::Find),
        Ok("fetch") => Ok(Choice::Fetch),
        Ok(other) => bail!("EMBEDDED_SERVERS is {other:?}; it may be `find` or `fetch`, or unset for both"),
    }
}
