//! The Kubernetes API as the Gateway uses it: creates, reads, counts and watches requests.

pub mod breaker;
pub mod breakers;
pub mod kubernetes;
mod list;
pub mod owners;
mod pointer;
pub mod retry;
pub mod slim;
mod turns;
pub mod watch;

use std::future::Future;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use wire::remediation_request::RemediationRequest;

use crate::domain::fingerprint::Fingerprint;
use crate::domain::index::Record;

/// Why a call of the API failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name exists.
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
    /// Transient: the same call may succeed later.
    #[error("the Kubernetes API is unavailable: {detail}")]
    Unavailable {
        /// The kind of failure.
        cause: Cause,
        /// When to retry.
        retry_after: Duration,
        /// The error of the last attempt.
        detail: String,
    },
    /// Permanent: the same call would be rejected again.
    #[error("the Kubernetes API rejected the call with {status}: {detail}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The API's reason and message.
        detail: String,
    },
}

/// Why the API is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection, or a broken one.
    Unreachable,
    /// No response in time.
    Timeout,
    /// 5xx responses.
    Failing,
    /// 429 responses.
    Throttled,
    /// The circuit breaker is open.
    CircuitOpen,
    /// The state of the cluster is not known yet.
    NotSynced,
    /// Concurrent writers changed the object faster than it could be counted.
    Contended,
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether the call may have been executed, although it failed.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(
            self,
            Self::Unavailable {
                cause: Cause::Unreachable | Cause::Timeout | Cause::Failing,
                ..
            }
        )
    }

    /// A label for metrics and audit events; about ten values.
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
            Self::Rejected { status: 403, .. } => "forbidden",
            Self::Rejected { status: 422, .. } => "invalid",
            Self::Rejected { .. } => "rejected",
        }
    }
}

/// The name of this process in a request's status; unique to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer(String);

impl Default for Writer {
    fn default() -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self(id[..12].to_owned())
    }
}

impl Writer {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The object that says which request is an incident's current one.
///
/// It is moved by compare-and-swap. Only the request that it names may be created while the object exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The namespace of the current request.
    pub namespace: String,
    /// The name of the current request.
    pub name: String,
    /// The version of the object.
    pub resource_version: String,
}

/// The part of the API that deduplication needs. A trait, so that tests can play through its races.
pub trait Requests: Send + Sync + 'static {
    /// Creates a request; begins no attempt after `deadline`.
    ///
    /// # Errors
    /// [`Error`]; `AlreadyExists` also after an earlier attempt whose response was lost.
    fn create(
        &self,
        request: &RemediationRequest,
        deadline: Instant,
    ) -> impl Future<Output = Result<Record, Error>> + Send;

    /// Reads the pointer of an incident; `None` if it does not exist.
    ///
    /// # Errors
    /// [`Error`].
    fn pointer(
        &self,
        fingerprint: Fingerprint,
    ) -> impl Future<Output = Result<Option<Pointer>, Error>> + Send;

    /// Sets the pointer of an incident to the request `namespace/name` if it is still `known`.
    ///
    /// # Errors
    /// [`Error`]; `AlreadyExists`, `Conflict` or `NotFound` after a concurrent write, and after an earlier attempt
    /// whose response was lost.
    fn point(
        &self,
        fingerprint: Fingerprint,
        known: Option<&Pointer>,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Pointer, Error>> + Send;

    /// Reads the current request; `None` if it does not exist.
    ///
    /// # Errors
    /// [`Error`].
    fn read(&self, namespace: &str, name: &str)
    -> impl Future<Output = Result<Option<Record>, Error>> + Send;

    /// Reads the current request with all its fields; `None` if it does not exist.
    ///
    /// # Errors
    /// [`Error`].
    fn describe(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<RemediationRequest>, Error>> + Send;

    /// Sets this process' part of a request's count to `own`, and the total with it, if the request is still at the
    /// record's version.
    ///
    /// # Errors
    /// [`Error`]; `Conflict` also after an earlier attempt whose response was lost.
    fn count(
        &self,
        record: &Record,
        own: i64,
        last_seen: Timestamp,
    ) -> impl Future<Output = Result<Record, Error>> + Send;
}
