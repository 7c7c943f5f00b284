//! An audit event: its validation, and its canonical content.

use serde_json::Value;
use service::auth::Client;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use wire::audit::{EventCategory, EventOutcome};

use super::canonical::{self, Canonical, ObjectWriter};
use super::fields::{Fields, Invalid, Reason};
pub(crate) use super::time::Micros;

/// 32 bytes of SHA-256.
pub(crate) type Hash = [u8; 32];

// Limits of single fields, the same as in the database (migrations/V1).

/// Maximum bytes of an event's data in PostgreSQL's text form.
pub(crate) const MAX_DATA_BYTES: usize = 256 * 1024;
/// Maximum nesting depth of an event's data, including the outermost object.
pub(crate) const MAX_DATA_DEPTH: usize = 10;
/// Maximum retention in days: seven years.
pub(crate) const MAX_RETENTION_DAYS: i32 = 2555;
/// Maximum characters of an error message.
pub(crate) const MAX_ERROR_MESSAGE: usize = 10_000;

/// Maximum difference of an event's timestamp from the time of its arrival.
const MAX_AHEAD: Micros = Micros(5 * 60 * 1_000_000);
const MAX_AGE: Micros = Micros(7 * 24 * 3600 * 1_000_000);

/// A valid event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) event_id: Uuid,
    pub(crate) version: String,
    pub(crate) event_type: String,
    pub(crate) event_timestamp: Micros,
    pub(crate) event_category: EventCategory,
    pub(crate) event_action: String,
    pub(crate) event_outcome: EventOutcome,
    pub(crate) correlation_id: String,
    /// Canonical JSON of an object.
    pub(crate) event_data: String,
    pub(crate) actor_type: Option<String>,
    pub(crate) actor_id: Option<String>,
    pub(crate) resource_type: Option<String>,
    pub(crate) resource_id: Option<String>,
    pub(crate) parent_event_id: Option<Uuid>,
    pub(crate) namespace: Option<String>,
    pub(crate) cluster_name: Option<String>,
    pub(crate) severity: Option<String>,
    pub(crate) duration_ms: Option<i32>,
    pub(crate) error_code: Option<String>,
    pub(crate) error_message: Option<String>,
    pub(crate) retention_days: Option<i32>,
}

/// An event with the hash of its content, which is computed once, on arrival.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sealed {
    pub(crate) event: Event,
    pub(crate) content_hash: Hash,
}

impl Sealed {
    pub(crate) fn new(event: Event) -> Self {
        let content_hash = Sha256::digest(event.content().as_bytes()).into();
        Self { event, content_hash }
    }

    /// Approximate bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        1024 + self.event.event_data.len() + self.event.error_message.as_ref().map_or(0, String::len)
    }
}

impl Event {
    /// Validates an event on arrival. Returns all errors at once.
    pub(crate) fn read(value: Value, now: Micros, client: Option<&Client>) -> Result<Self, Vec<Invalid>> {
        let mut fields = Fields::of(value)?;
        let event = Self::take(&mut fields, client, Some(now));
        fields.finish()?;
        event.ok_or_else(Vec::new)
    }

    /// Reads an event that was validated on arrival, possibly long ago: its content as
    /// [`Event::content`] wrote it.
    pub(crate) fn read_again(content: &str) -> Result<Self, Vec<Invalid>> {
        let mut fields = Fields::parse(content)?;
        let event = Self::take(&mut fields, None, None);
        fields.finish()?;
        event.ok_or_else(Vec::new)
    }

    /// Reads every field, so that every error is recorded; `None` if a required field is invalid.
    /// `now` is the time of arrival, on arrival.
    fn take(fields: &mut Fields, client: Option<&Client>, now: Option<Micros>) -> Option<Self> {
        let event_id = fields.optional_uuid("event_id");
        let version = fields.required_text("version", 10);
        let event_type = fields.required_text("event_type", 100);
        let event_timestamp = fields.required_time("event_timestamp");
        if let (Some(time), Some(now)) = (event_timestamp, now) {
            check_age(fields, time, now);
        }
        let event_category = fields.choice("event_category", &EventCategory::ALL, EventCategory::as_str);
        let event_action = fields.required_text("event_action", 50);
        let event_outcome = fields.choice("event_outcome", &EventOutcome::ALL, EventOutcome::as_str);
        let correlation_id = fields.required_text("correlation_id", 255);
        let event_data = take_data(fields);
        let actor_type = fields.optional_text("actor_type", 50);
        let actor_id = fields.optional_text("actor_id", 255);
        let resource_type = fields.optional_text("resource_type", 100);
        let resource_id = fields.optional_text("resource_id", 255);
        let parent_event_id = fields.optional_uuid("parent_event_id");
        let namespace = fields.optional_text("namespace", 253);
        let cluster_name = fields.optional_text("cluster_name", 255);
        let severity = fields.optional_text("severity", 20);
        let duration_ms = fields.optional_integer("duration_ms", 0, i32::MAX);
        let error_code = fields.optional_text("error_code", 100);
        let error_message = fields.optional_text("error_message", MAX_ERROR_MESSAGE);
        let retention_days = fields.optional_integer("retention_days", 1, MAX_RETENTION_DAYS);
        Some(Self {
            event_id: event_id.unwrap_or_else(Uuid::now_v7),
            version,
            event_type,
            event_timestamp: event_timestamp?,
            event_category: event_category?,
            event_action,
            event_outcome: event_outcome?,
            correlation_id,
            event_data: event_data?,
            actor_type,
            actor_id: client.map(|client| client.name.clone()).or(actor_id),
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
        })
    }

    /// The canonical JSON of everything that was sent: the chain protects it, and two events with one id must have the
    /// same.
    pub(crate) fn content(&self) -> String {
        let mut object = ObjectWriter::new(self.event_data.len() + 700);
        // In the order of the names, which are ASCII.
        object.text("actor_id", self.actor_id.as_deref());
        object.text("actor_type", self.actor_type.as_deref());
        object.text("cluster_name", self.cluster_name.as_deref());
        object.text("correlation_id", Some(&self.correlation_id));
        object.integer("duration_ms", self.duration_ms);
        object.text("error_code", self.error_code.as_deref());
        object.text("error_message", self.error_message.as_deref());
        object.text("event_action", Some(&self.event_action));
        object.text("event_category", Some(self.event_category.as_str()));
        object.json("event_data", &self.event_data);
        object.uuid("event_id", Some(self.event_id));
        object.text("event_outcome", Some(self.event_outcome.as_str()));
        object.time("event_timestamp", self.event_timestamp.to_timestamp());
        object.text("event_type", Some(&self.event_type));
        object.text("namespace", self.namespace.as_deref());
        object.uuid("parent_event_id", self.parent_event_id);
        object.text("resource_id", self.resource_id.as_deref());
        object.text("resource_type", self.resource_type.as_deref());
        object.integer("retention_days", self.retention_days);
        object.text("severity", self.severity.as_deref());
        object.text("version", Some(&self.version));
        object.finish()
    }
}

/// A timestamp far from now is a wrong clock or a replay.
fn check_age(fields: &mut Fields, time: Micros, now: Micros) {
    if time.0 > now.0.saturating_add(MAX_AHEAD.0) {
        let message = format!(
            "is {}, more than 5 minutes ahead of {}; set the sender's clock",
            time.to_timestamp(),
            now.to_timestamp()
        );
        fields.reject("event_timestamp", Reason::Range, message);
    } else if time.0 < now.0.saturating_sub(MAX_AGE.0) {
        let message = format!(
            "is {}, more than 7 days before {}",
            time.to_timestamp(),
            now.to_timestamp()
        );
        fields.reject("event_timestamp", Reason::Range, message);
    }
}

fn take_data(fields: &mut Fields) -> Option<String> {
    let value = fields.required_object("event_data")?;
    let Canonical {
        text,
        stored_bytes,
        depth,
        holds_nul,
    } = canonical::canonical(&value);
    let mut fine = true;
    if stored_bytes > MAX_DATA_BYTES {
        let message = format!("has {stored_bytes} bytes as JSON; expected at most {MAX_DATA_BYTES}");
        fields.reject("event_data", Reason::Length, message);
        fine = false;
    }
    if depth > MAX_DATA_DEPTH {
        let message = format!("is {depth} levels deep; expected at most {MAX_DATA_DEPTH}");
        fields.reject("event_data", Reason::Range, message);
        fine = false;
    }
    if holds_nul {
        fields.reject(
            "event_data",
            Reason::Format,
            "contains U+0000, which cannot be stored",
        );
        fine = false;
    }
    fine.then_some(text)
}

#[cfg(test)]
pub(crate) mod tests;
