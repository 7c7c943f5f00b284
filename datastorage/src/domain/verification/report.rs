//! The result of verifying a chain.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The kind of tampering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tampering {
    /// It differs from what was stored.
    Altered,
    /// It is missing, and retention did not remove it.
    Missing,
    /// It was never stored by this service.
    Inserted,
}

/// An event, or a legal hold, that differs from what was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct TamperedEvent {
    /// The kind of tampering.
    pub(crate) kind: Tampering,
    /// Its position in the chain; 0 for a legal hold.
    pub(crate) sequence: i64,
    /// Its id; null for one that is missing.
    pub(crate) event_id: Option<Uuid>,
    /// The difference.
    pub(crate) detail: String,
}

/// The result of verifying a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ChainVerification {
    /// The chain.
    pub(crate) correlation_id: String,
    /// Whether there is no tampering.
    pub(crate) is_valid: bool,
    /// Number of events.
    pub(crate) total_events: usize,
    /// Number of unaltered events.
    pub(crate) verified_events: usize,
    /// Number of events removed by retention; the chain spans them.
    pub(crate) expired_events: i64,
    /// Number of events protected by an HMAC key.
    pub(crate) keyed_events: usize,
    /// Number of events stored less than an hour ago with a key that is not configured here: during a rolling update
    /// other replicas have it.
    pub(crate) unverifiable_events: usize,
    /// The first 1,000 cases of tampering; of a run of missing events its first position.
    pub(crate) tampered_events: Vec<TamperedEvent>,
}
