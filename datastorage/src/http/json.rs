//! A stored event as JSON: [`wire::audit::StoredEvent`], borrowed from its row, so that a page copies no field and does
//! not parse event data.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::domain::event::{Hash, Micros};
use crate::domain::time::ClockBounds;
use crate::store::types::HashColumn;

#[derive(Serialize)]
pub(super) struct EventJson<'a> {
    pub(super) event_id: Uuid,
    version: &'a str,
    event_type: &'a str,
    pub(super) event_timestamp: Timestamp,
    event_category: &'a str,
    event_action: &'a str,
    event_outcome: &'a str,
    correlation_id: &'a str,
    pub(super) event_data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_event_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_days: Option<i32>,
    pub(super) sequence: i64,
    recorded_at: Timestamp,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    clock_skew: bool,
    #[serde(serialize_with = "hexadecimal")]
    previous_hash: Hash,
    #[serde(serialize_with = "hexadecimal")]
    event_hash: Hash,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_data_hash: Option<String>,
}

/// Why a row cannot be serialized: it was not written by this program.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("a column of an event: {0}")]
    Column(#[from] tokio_postgres::Error),
    #[error("the data of an event: {0}")]
    Data(#[from] serde_json::Error),
}

impl<'a> EventJson<'a> {
    /// Reads a row of [`crate::store::events::COLUMNS`].
    pub(super) fn of(row: &'a Row, clock: ClockBounds) -> Result<Self, Unreadable> {
        Ok(Self {
            clock_skew: clock.exceeded(row.try_get(1)?, row.try_get(22)?),
            event_id: row.try_get(0)?,
            event_timestamp: row.try_get::<_, Micros>(1)?.to_timestamp(),
            version: row.try_get(2)?,
            event_type: row.try_get(3)?,
            event_category: row.try_get(4)?,
            event_action: row.try_get(5)?,
            event_outcome: row.try_get(6)?,
            correlation_id: row.try_get(7)?,
            event_data: serde_json::from_str(row.try_get(8)?)?,
            actor_type: row.try_get(9)?,
            actor_id: row.try_get(10)?,
            resource_type: row.try_get(11)?,
            resource_id: row.try_get(12)?,
            parent_event_id: row.try_get(13)?,
            namespace: row.try_get(14)?,
            cluster_name: row.try_get(15)?,
            severity: row.try_get(16)?,
            duration_ms: row.try_get(17)?,
            error_code: row.try_get(18)?,
            error_message: row.try_get(19)?,
            retention_days: row.try_get(20)?,
            sequence: row.try_get(21)?,
            recorded_at: row.try_get::<_, Micros>(22)?.to_timestamp(),
            previous_hash: row.try_get::<_, HashColumn>(23)?.0,
            event_hash: row.try_get::<_, HashColumn>(24)?.0,
            event_data_hash: row
                .try_get::<_, Option<HashColumn>>(27)?
                .map(|hash| hex::encode(hash.0)),
        })
    }
}

/// Like `hex::encode`, which works character by character.
fn hexadecimal<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
    let mut digits = [0; 64];
    // 32 bytes have 64 digits, which are ASCII.
    let _ = hex::encode_to_slice(hash, &mut digits);
    serializer.serialize_str(std::str::from_utf8(&digits).unwrap_or_default())
}
