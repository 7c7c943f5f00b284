//! Audit events: requests to DataStorage and its responses.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

/// The version of the event format that this crate writes.
pub const VERSION: &str = "1.0";

/// The service that an event describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventCategory {
    /// Signals and remediation requests.
    Gateway,
    /// Notifications of people.
    Notification,
    /// Analysis of an incident.
    Analysis,
    /// Enrichment and classification of a signal.
    Signalprocessing,
    /// Selection of a workflow.
    Workflow,
    /// Execution of a workflow.
    Execution,
    /// The remediation as a whole.
    Orchestration,
}

impl EventCategory {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Gateway,
        Self::Notification,
        Self::Analysis,
        Self::Signalprocessing,
        Self::Workflow,
        Self::Execution,
        Self::Orchestration,
    ];

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Notification => "notification",
            Self::Analysis => "analysis",
            Self::Signalprocessing => "signalprocessing",
            Self::Workflow => "workflow",
            Self::Execution => "execution",
            Self::Orchestration => "orchestration",
        }
    }

    /// Parses the name in JSON.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str() == name)
    }
}

/// The outcome of the action that an event describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventOutcome {
    /// Success.
    Success,
    /// Failure.
    Failure,
    /// Not yet known.
    Pending,
}

impl EventOutcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::Pending];

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Pending => "pending",
        }
    }

    /// Parses the name in JSON.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

impl fmt::Display for EventCategory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for EventOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An event as it is sent. Unknown fields are rejected: a field that is not stored must not look stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditEvent {
    /// Set by the sender, so that sending an event twice stores it once. DataStorage creates one if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Uuid>,
    /// The version of this format, at most 10 characters: [`VERSION`].
    #[schema(min_length = 1, max_length = 10)]
    pub version: String,
    /// Event type, such as `gateway.signal.received`; 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub event_type: String,
    /// When it happened, RFC 3339; stored in microseconds. At most 366 days ahead and 2,555 days
    /// old; far from the time of storing it is marked ([`StoredEvent::clock_skew`]).
    #[schema(value_type = String, format = DateTime)]
    pub event_timestamp: Timestamp,
    /// The reporting service.
    pub event_category: EventCategory,
    /// The action, such as `received`; 1 to 50 characters.
    #[schema(min_length = 1, max_length = 50)]
    pub event_action: String,
    /// Its outcome.
    pub event_outcome: EventOutcome,
    /// Connects the events of one remediation; 1 to 255 characters.
    #[schema(min_length = 1, max_length = 255)]
    pub correlation_id: String,
    /// Data specific to this type of event: an object, at most 256 KiB of JSON and 10 levels deep.
    #[schema(value_type = Object)]
    pub event_data: Map<String, Value>,
    /// The kind of the actor, such as `service` or `user`; at most 50 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 50)]
    pub actor_type: Option<String>,
    /// The actor; at most 255 characters. With authentication it is the client, whatever is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub actor_id: Option<String>,
    /// The kind of the affected resource, such as `Pod`; at most 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub resource_type: Option<String>,
    /// The name of the affected resource; at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub resource_id: Option<String>,
    /// The event that caused this one; it must be stored, or precede this one in the same batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_event_id: Option<Uuid>,
    /// The Kubernetes namespace; at most 253 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 253)]
    pub namespace: Option<String>,
    /// The cluster; at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub cluster_name: Option<String>,
    /// Severity, such as `critical`; at most 20 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 20)]
    pub severity: Option<String>,
    /// Duration in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    pub duration_ms: Option<i32>,
    /// Error code; at most 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub error_code: Option<String>,
    /// Error message; at most 10,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10_000)]
    pub error_message: Option<String>,
    /// Retention in days; DataStorage's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2555)]
    pub retention_days: Option<i32>,
}

impl AuditEvent {
    /// Creates an event of now with a new time-ordered id and no optional field.
    #[must_use]
    pub fn new(
        category: EventCategory,
        event_type: &str,
        action: &str,
        outcome: EventOutcome,
        correlation_id: &str,
        data: Map<String, Value>,
    ) -> Self {
        Self {
            event_id: Some(Uuid::now_v7()),
            version: VERSION.to_owned(),
            event_type: event_type.to_owned(),
            event_timestamp: Timestamp::now(),
            event_category: category,
            event_action: action.to_owned(),
            event_outcome: outcome,
            correlation_id: correlation_id.to_owned(),
            event_data: data,
            actor_type: None,
            actor_id: None,
            resource_type: None,
            resource_id: None,
            parent_event_id: None,
            namespace: None,
            cluster_name: None,
            severity: None,
            duration_ms: None,
            error_code: None,
            error_message: None,
            retention_days: None,
        }
    }
}

/// The response to one accepted event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventAccepted {
    /// The event's id, the sender's or a new one.
    pub event_id: Uuid,
    /// The event's timestamp, as stored.
    #[schema(value_type = String, format = DateTime)]
    pub event_timestamp: Timestamp,
    /// Message for people: whether the event is stored or waits in the stream.
    pub message: String,
}

/// The response to a completely accepted batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchAccepted {
    /// The ids, in the order of the events.
    pub event_ids: Vec<Uuid>,
    /// Message for people: their number, and whether they are stored.
    pub message: String,
}

/// A stored event: what was sent, and its position in the chain of its correlation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoredEvent {
    /// The event's id.
    pub event_id: Uuid,
    /// The version of the format in which it was sent.
    pub version: String,
    /// Event type.
    pub event_type: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub event_timestamp: Timestamp,
    /// The reporting service.
    pub event_category: EventCategory,
    /// The action.
    pub event_action: String,
    /// Its outcome.
    pub event_outcome: EventOutcome,
    /// Connects the events of one remediation.
    pub correlation_id: String,
    /// Data specific to this type of event.
    #[schema(value_type = Object)]
    pub event_data: Value,
    /// The kind of the actor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_type: Option<String>,
    /// The actor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    /// The kind of the affected resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// The name of the affected resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// The event that caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_event_id: Option<Uuid>,
    /// The Kubernetes namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Duration in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i32>,
    /// Error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// Error message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Retention in days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i32>,
    /// Its position in the chain of its correlation, from 1, in the order of storing.
    pub sequence: i64,
    /// When it was stored.
    #[schema(value_type = String, format = DateTime)]
    pub recorded_at: Timestamp,
    /// Whether `event_timestamp` is further from `recorded_at` than DataStorage's `[clock]` allows, by default 5 minutes
    /// ahead and 7 days before. Absent if not. Computed when read; no hash covers it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clock_skew: bool,
    /// The hash of its predecessor in the chain, 64 hex digits; zeros for the first.
    pub previous_hash: String,
    /// The hash over the predecessor's hash and this event, 64 hex digits.
    pub event_hash: String,
    /// Of an event whose data was erased: what the chain covers in its place, 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_data_hash: Option<String>,
}

/// A page of events, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The events.
    pub data: Vec<StoredEvent>,
    /// The position of this page.
    pub pagination: Pagination,
}

/// The position of a page in the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pagination {
    /// Maximum events per page.
    pub limit: i64,
    /// Number of events before it; 0 for a page requested by cursor.
    pub offset: i64,
    /// Total number of events, up to the maximum that DataStorage counts.
    pub total: i64,
    /// False where `total` is a lower bound.
    #[serde(default = "yes")]
    pub total_is_exact: bool,
    /// Whether another page follows.
    pub has_more: bool,
    /// The `cursor` of the next page; unlike an offset, it is stable under new events.
    pub next_cursor: Option<String>,
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_equal_those_in_json() {
        for category in EventCategory::ALL {
            assert_eq!(serde_json::to_value(category).unwrap(), category.as_str());
            assert_eq!(EventCategory::from_name(category.as_str()), Some(category));
        }
        for outcome in EventOutcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
            assert_eq!(EventOutcome::from_name(outcome.as_str()), Some(outcome));
        }
    }

    #[test]
    fn unset_fields_are_not_sent() {
        let event = AuditEvent::new(
            EventCategory::Gateway,
            "a.b",
            "b",
            EventOutcome::Success,
            "c",
            Map::new(),
        );
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json.as_object().unwrap().len(), 9, "{json}");
        assert_eq!(serde_json::from_value::<AuditEvent>(json).unwrap(), event);
    }
}
