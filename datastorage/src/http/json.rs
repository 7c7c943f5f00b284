//! A stored event as JSON: [`wire::audit::StoredEvent`], without taking its data apart and putting it together again.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;
use wire::audit::{EventCategory, EventOutcome};

use crate::domain::event::{Event, Hash};
use crate::domain::stored::Stored;

#[derive(Serialize)]
pub(super) struct EventJson {
    event_id: Uuid,
    version: String,
    event_type: String,
    event_timestamp: Timestamp,
    event_category: EventCategory,
    event_action: String,
    event_outcome: EventOutcome,
    correlation_id: String,
    event_data: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_event_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_days: Option<i32>,
    sequence: i64,
    recorded_at: Timestamp,
    previous_hash: String,
    event_hash: String,
}

impl EventJson {
    pub(super) fn of(stored: Stored) -> Result<Self, serde_json::Error> {
        let Stored {
            event,
            sequence,
            recorded_at,
            previous_hash,
            event_hash,
            chain_key: _,
        } = stored;
        let Event {
            event_id,
            version,
            event_type,
            event_timestamp,
            event_category,
            event_action,
            event_outcome,
            correlation_id,
            event_data,
            actor_type,
            actor_id,
            resource_type,
            resource_id,
            parent_event_id,
            namespace,
            cluster_name,
            severity,
            duration_ms,
            error_code,
            error_message,
            retention_days,
        } = event;
        Ok(Self {
            event_id,
            version,
            event_type,
            event_timestamp: event_timestamp.to_timestamp(),
            event_category,
            event_action,
            event_outcome,
            correlation_id,
            event_data: RawValue::from_string(event_data)?,
            actor_type,
            actor_id,
            resource_type,
            resource_id,
            parent_event_id,
            namespace,
            cluster_name,
            severity,
            duration_ms,
            error_code,
            error_message,
            retention_days,
            sequence,
            recorded_at: recorded_at.to_timestamp(),
            previous_hash: hexadecimal(&previous_hash),
            event_hash: hexadecimal(&event_hash),
        })
    }
}

/// As `hex::encode`, which goes character by character.
fn hexadecimal(hash: &Hash) -> String {
    let mut digits = [0; 64];
    // 32 bytes have 64 digits, which are ASCII.
    let _ = hex::encode_to_slice(hash, &mut digits);
    String::from_utf8_lossy(&digits).into_owned()
}
