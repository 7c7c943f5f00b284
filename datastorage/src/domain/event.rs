//! An audit event: its validation, and its canonical content.

use service::auth::Client;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use wire::audit::{EventCategory, EventOutcome};

use super::canonical::{Flaw, Numbers, ObjectWriter, canonical};
use super::fields::{Fields, Invalid, Reason};
pub(crate) use super::time::Micros;
use super::time::unstorable;

/// 32 bytes of SHA-256.
pub(crate) type Hash = [u8; 32];

// Limits of single fields, the same as in the database (migrations/V1).

/// Maximum bytes of an event's data in PostgreSQL's text form.
pub(crate) const MAX_DATA_BYTES: usize = 256 * 1024;
/// Maximum retention in days: seven years.
pub(crate) const MAX_RETENTION_DAYS: i32 = 2555;
/// Maximum characters of an error message.
pub(crate) const MAX_ERROR_MESSAGE: usize = 10_000;

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

/// Hides event data in its hash: data with few possible values cannot be guessed without it.
pub(crate) type Salt = [u8; 16];

/// An event with its hashes, which are computed once, on arrival.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sealed {
    pub(crate) event: Event,
    /// Of the content: two events with one id must have the same.
    pub(crate) content_hash: Hash,
    /// Of the event data.
    pub(crate) salt: Salt,
    /// What the chain covers of the content. The formats cannot be confused: the hashed texts have different members.
    pub(crate) chained_hash: Hash,
}

impl Sealed {
    /// Seals a new event, in format 2.
    pub(crate) fn new(event: Event) -> Self {
        let salt = Uuid::new_v4().into_bytes();
        Self {
            content_hash: event.content_hash(),
            chained_hash: event.hash_with_data_hash(&event.data_hash(&salt)),
            salt,
            event,
        }
    }

    /// Approximate bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        1024 + self.event.event_data.len() + self.event.error_message.as_ref().map_or(0, String::len)
    }
}

impl Event {
    /// Validates an event on arrival. Returns all errors at once.
    pub(crate) fn read(text: &[u8], now: Micros, client: Option<&Client>) -> Result<Self, Vec<Invalid>> {
        let mut fields = Fields::parse(text)?;
        let event = Self::take(&mut fields, client, Some(now), Numbers::Exact);
        fields.finish()?;
        event.ok_or_else(Vec::new)
    }

    /// Reads an event that was validated on arrival, possibly long ago: its content as
    /// [`Event::content`] wrote it, whose numbers may be those of hash format 1.
    pub(crate) fn read_again(content: &str, numbers: Numbers) -> Result<Self, Vec<Invalid>> {
        let mut fields = Fields::parse(content.as_bytes())?;
        let event = Self::take(&mut fields, None, None, numbers);
        fields.finish()?;
        event.ok_or_else(Vec::new)
    }

    /// Reads every field, so that every error is recorded; `None` if a required field is invalid.
    /// `now` is the time of arrival, on arrival.
    fn take(
        fields: &mut Fields<'_>,
        client: Option<&Client>,
        now: Option<Micros>,
        numbers: Numbers,
    ) -> Option<Self> {
        let event_id = fields.optional_uuid("event_id");
        let version = fields.required_text("version", 10);
        let event_type = fields.required_text("event_type", 100);
        let event_timestamp = fields.required_time("event_timestamp");
        if let (Some(time), Some(now)) = (event_timestamp, now)
            && let Some(message) = unstorable(time, now)
        {
            fields.reject("event_timestamp", Reason::Range, message);
        }
        let event_category = fields.choice("event_category", &EventCategory::ALL, EventCategory::as_str);
        let event_action = fields.required_text("event_action", 50);
        let event_outcome = fields.choice("event_outcome", &EventOutcome::ALL, EventOutcome::as_str);
        let correlation_id = fields.required_text("correlation_id", 255);
        let event_data = take_data(fields, numbers);
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

    /// The canonical JSON of everything that was sent: two events with one id must have the same.
    pub(crate) fn content(&self) -> String {
        self.content_with("event_data", &self.event_data)
    }

    pub(crate) fn content_hash(&self) -> Hash {
        Sha256::digest(self.content()).into()
    }

    pub(crate) fn data_hash(&self, salt: &Salt) -> Hash {
        Sha256::new()
            .chain_update(salt)
            .chain_update(&self.event_data)
            .finalize()
            .into()
    }

    /// The hash of the content with the hash of the event data in its place.
    pub(crate) fn hash_with_data_hash(&self, data_hash: &Hash) -> Hash {
        let mut quoted = *b"\"0000000000000000000000000000000000000000000000000000000000000000\"";
        // The slice has the length of the digits, which are ASCII.
        let _ = hex::encode_to_slice(data_hash, &mut quoted[1..65]);
        let quoted = std::str::from_utf8(&quoted).unwrap_or_default();
        Sha256::digest(self.content_with("event_data_hash", quoted)).into()
    }

    fn content_with(&self, data_name: &str, data: &str) -> String {
        let mut object = ObjectWriter::new(data.len() + 700);
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
        object.json(data_name, data);
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

fn take_data(fields: &mut Fields<'_>, numbers: Numbers) -> Option<String> {
    let value = fields.required_object("event_data")?;
    match canonical(value, numbers) {
        Ok(data) if data.stored_bytes <= MAX_DATA_BYTES => Some(data.text),
        Ok(data) => {
            let message = format!(
                "has {} bytes as JSON; expected at most {MAX_DATA_BYTES}",
                data.stored_bytes
            );
            fields.reject("event_data", Reason::Length, message);
            None
        }
        Err(flaw) => {
            let reason = match flaw {
                Flaw::Depth | Flaw::Number(_) => Reason::Range,
                Flaw::Nul | Flaw::Duplicate(_) | Flaw::Format(_) => Reason::Format,
            };
            fields.reject("event_data", reason, flaw.to_string());
            None
        }
    }
}

#[cfg(test)]
mod amplification;
#[cfg(test)]
pub(crate) mod tests;
