//! The Kubernetes API as the Gateway uses it: requests are created, read and counted, and watched from afar.

pub mod access;
pub mod breaker;
pub mod kubernetes;
pub mod owners;
pub mod retry;
pub mod slim;
pub mod watch;

use std::future::Future;
use std::time::Duration;

use wire::remediation_request::{Deduplication, RemediationRequest};

use crate::domain::index::Record;

/// Why a call of the API did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name is taken.
    #[error("an object of this name exists")]
    AlreadyExists,
    /// The object changed since it was read.
    #[error("the object changed since it was read")]
    Conflict,
    /// There is no such object.
    #[error("there is no such object")]
    NotFound,
    /// The namespace does not exist, or is being deleted.
    #[error("the namespace does not exist or is being deleted")]
    NoNamespace,
    /// Not now: the same call may work later.
    #[error("the Kubernetes API can't be used now: {detail}")]
    Unavailable {
        /// What kind of hindrance it is.
        cause: Cause,
        /// When to try again.
        retry_after: Duration,
        /// What the last try met.
        detail: String,
    },
    /// Never: the same call would be refused again.
    #[error("the Kubernetes API refused it with {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The API's reason and message.
        detail: String,
    },
}

/// Why the API can't be used for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// It answers 5xx.
    Failing,
    /// It answers 429.
    Throttled,
    /// So many calls failed lately that none is made.
    CircuitOpen,
    /// What is in the cluster is not known yet.
    NotSynced,
    /// Others changed the object faster than it could be counted.
    Contended,
}

impl Error {
    /// Whether the same call may work later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// A word for metrics and audit events; there are ten or so.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::NoNamespace => "no_namespace",
            Self::Unavailable { cause, .. } => match cause {
                Cause::Unreachable => "unreachable",
                Cause::Timeout => "timeout",
                Cause::Failing => "server_error",
                Cause::Throttled => "throttled",
                Cause::CircuitOpen => "circuit_open",
                Cause::NotSynced => "not_synced",
                Cause::Contended => "contended",
            },
            Self::Refused { status: 403, .. } => "forbidden",
            Self::Refused { status: 422, .. } => "invalid",
            Self::Refused { .. } => "refused",
        }
    }
}

/// What deduplication needs of the API. A trait, so that its races can be played through in tests.
pub trait Requests: Send + Sync + 'static {
    /// Creates a request.
    ///
    /// # Errors
    /// [`Error`]; `AlreadyExists` also where an earlier try of the same call got through and its answer was lost.
    fn create(&self, request: &RemediationRequest) -> impl Future<Output = Result<Record, Error>> + Send;

    /// Reads a request as it is now; none if it does not exist.
    ///
    /// # Errors
    /// [`Error`].
    fn read(&self, namespace: &str, name: &str)
    -> impl Future<Output = Result<Option<Record>, Error>> + Send;

    /// Writes the count of a request, provided that it still is at the record's version.
    ///
    /// # Errors
    /// [`Error`]; `Conflict` also where an earlier try of the same call got through and its answer was lost.
    fn count(
        &self,
        record: &Record,
        count: &Deduplication,
    ) -> impl Future<Output = Result<Record, Error>> + Send;
}
