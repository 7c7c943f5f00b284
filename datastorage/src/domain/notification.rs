//! The record of a notification.

use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::fields::{Fields, Invalid, Reason};
use super::time::{Micros, unstorable};

/// The status of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = NotificationStatus)]
pub(crate) enum Status {
    /// It was sent.
    Sent,
    /// It could not be sent.
    Failed,
    /// A person has acknowledged it.
    Acknowledged,
    /// It was sent to another recipient.
    Escalated,
}

impl Status {
    const ALL: [Self; 4] = [Self::Sent, Self::Failed, Self::Acknowledged, Self::Escalated];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Acknowledged => "acknowledged",
            Self::Escalated => "escalated",
        }
    }
}

/// A valid record.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = NotificationRecord)]
pub(crate) struct Notification {
    /// Set by the sender.
    #[schema(min_length = 1, max_length = 255)]
    pub(crate) notification_id: String,
    /// Id of the remediation.
    #[schema(min_length = 1, max_length = 255)]
    pub(crate) remediation_id: String,
    /// Recipient.
    #[schema(min_length = 1, max_length = 255)]
    pub(crate) recipient: String,
    /// Channel, such as `email` or `slack`.
    #[schema(min_length = 1, max_length = 50)]
    pub(crate) channel: String,
    /// Content.
    #[schema(min_length = 1, max_length = 10_000)]
    pub(crate) message_summary: String,
    /// Status.
    pub(crate) status: Status,
    /// When it was sent: at most 366 days ahead and 2,555 days ago.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "as_timestamp")]
    pub(crate) sent_at: Micros,
    /// Response of the channel.
    #[schema(max_length = 255)]
    pub(crate) delivery_status: Option<String>,
    /// Error message.
    #[schema(max_length = 10_000)]
    pub(crate) error_message: Option<String>,
    /// Escalation level.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 100)]
    pub(crate) escalation_level: i32,
}

impl Notification {
    /// Validates a record on arrival. Returns all errors at once.
    pub(crate) fn read(text: &[u8], now: Micros) -> Result<Self, Vec<Invalid>> {
        let mut fields = Fields::parse(text)?;
        let notification = Self::take(&mut fields, Some(now));
        fields.finish()?;
        notification.ok_or_else(Vec::new)
    }

    /// Reads a record that was validated on arrival: its serialization is in the stream.
    pub(crate) fn read_again(text: &str) -> Result<Self, Vec<Invalid>> {
        let mut fields = Fields::parse(text.as_bytes())?;
        let notification = Self::take(&mut fields, None);
        fields.finish()?;
        notification.ok_or_else(Vec::new)
    }

    /// `now` is the time of arrival, on arrival.
    fn take(fields: &mut Fields<'_>, now: Option<Micros>) -> Option<Self> {
        let notification_id = fields.required_text("notification_id", 255);
        let remediation_id = fields.required_text("remediation_id", 255);
        let recipient = fields.required_text("recipient", 255);
        let channel = fields.required_text("channel", 50);
        let message_summary = fields.required_text("message_summary", 10_000);
        let status = fields.choice("status", &Status::ALL, Status::as_str);
        let sent_at = fields.required_time("sent_at");
        if let (Some(time), Some(now)) = (sent_at, now)
            && let Some(message) = unstorable(time, now)
        {
            fields.reject("sent_at", Reason::Range, message);
        }
        let delivery_status = fields.optional_text("delivery_status", 255);
        let error_message = fields.optional_text("error_message", 10_000);
        let escalation_level = fields.optional_integer("escalation_level", 0, 100).unwrap_or(0);
        Some(Self {
            notification_id,
            remediation_id,
            recipient,
            channel,
            message_summary,
            status: status?,
            sent_at: sent_at?,
            delivery_status,
            error_message,
            escalation_level,
        })
    }
}

fn as_timestamp<S: Serializer>(time: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.to_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Micros = Micros(1_800_000_000_000_000);

    fn valid() -> serde_json::Value {
        json!({
            "notification_id": "n-1", "remediation_id": "rr-1", "recipient": "ops@example.com", "channel": "email",
            "message_summary": "restarted", "status": "sent", "sent_at": "2027-01-15T07:59:59.5Z",
            "delivery_status": "250 OK", "escalation_level": 2,
        })
    }

    #[test]
    fn record_survives_writing_and_reading() {
        let notification = Notification::read(valid().to_string().as_bytes(), NOW).unwrap();
        assert_eq!(
            Notification::read_again(&serde_json::to_string(&notification).unwrap()).unwrap(),
            notification
        );
    }

    #[test]
    fn reports_every_error_at_once() {
        let mut value = valid();
        value["status"] = json!("lost");
        value["channel"] = json!("x".repeat(51));
        value["sent_at"] = json!("2028-01-17T08:00:00Z");
        value.as_object_mut().unwrap().remove("recipient");
        let fields = |value: serde_json::Value| {
            let invalid = Notification::read(value.to_string().as_bytes(), NOW).unwrap_err();
            invalid
                .into_iter()
                .map(|invalid| invalid.field)
                .collect::<Vec<_>>()
        };
        assert_eq!(fields(value), ["recipient", "channel", "status", "sent_at"]);
    }
}
