//! Payloads of signal senders: Alertmanager's webhook (version 4) and Events of the Kubernetes API.
//!
//! Only the fields that are read are listed; unknown fields are allowed. An absent or null field is empty: which fields
//! are required is decided where signals are created from them. Of long lists and maps only the first members are kept,
//! so that a body cannot take many times its size as memory.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::{self, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

pub use crate::texts::{MAX_TEXTS, Text, Texts};

/// Labels or annotations of a signal.
pub type Labels = BTreeMap<String, String>;

/// Maximum number of alerts that are kept of one webhook.
pub const MAX_ALERTS: usize = 16_384;

/// One delivery of Alertmanager: the alerts of one group.
///
/// The alerts stay raw, so that each is parsed, rejected and stored by itself: as an [`Alert`].
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", bound = "'de: 'a")]
pub struct Webhook<'a> {
    /// Labels common to all alerts of the group.
    #[serde(default, deserialize_with = "or_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub common_labels: Texts<'a>,
    /// Annotations common to all alerts of the group.
    #[serde(default, deserialize_with = "or_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub common_annotations: Texts<'a>,
    /// The alerts, each as its own JSON text.
    #[serde(default, deserialize_with = "or_empty")]
    #[schema(value_type = Vec<Alert>)]
    pub alerts: Alerts<'a>,
}

/// The alerts of a [`Webhook`].
#[derive(Debug, Default)]
pub struct Alerts<'a> {
    /// The first [`MAX_ALERTS`].
    pub kept: Vec<&'a RawValue>,
    /// Number of alerts, including those that are not kept.
    pub count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Alerts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Alerts<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a list of alerts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut alerts = Alerts::default();
                while alerts.kept.len() < MAX_ALERTS {
                    match list.next_element()? {
                        Some(alert) => alerts.kept.push(alert),
                        None => break,
                    }
                }
                alerts.count = alerts.kept.len();
                while alerts.count >= MAX_ALERTS && list.next_element::<IgnoredAny>()?.is_some() {
                    alerts.count += 1;
                }
                Ok(alerts)
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

/// One alert of a [`Webhook`].
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", bound = "'de: 'a")]
pub struct Alert<'a> {
    /// `firing` or `resolved`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub status: Text<'a>,
    /// The labels that identify the alert, including `alertname`.
    #[serde(default, deserialize_with = "or_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Texts<'a>,
    /// The annotations that describe the alert.
    #[serde(default, deserialize_with = "or_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub annotations: Texts<'a>,
    /// When it began to fire.
    #[serde(default, deserialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Option<Timestamp>,
}

/// An Event of the Kubernetes API, as `kubectl get event -o json` shows it.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", bound = "'de: 'a")]
pub struct Event<'a> {
    /// `Normal`, `Warning`, or another value of the reporter.
    #[serde(default, rename = "type", deserialize_with = "or_empty")]
    pub event_type: String,
    /// The reason, one word such as `OOMKilled`.
    #[serde(default, deserialize_with = "or_empty")]
    pub reason: String,
    /// Message for people.
    #[serde(default, deserialize_with = "or_empty")]
    pub message: String,
    /// The event's own metadata.
    #[serde(default, deserialize_with = "or_empty")]
    pub metadata: EventMetadata<'a>,
    /// The object that it is about.
    #[serde(default, deserialize_with = "or_empty")]
    pub involved_object: InvolvedObject,
    /// The reporter, in the older form.
    #[serde(default, deserialize_with = "or_empty")]
    pub source: EventSource,
    /// The reporter, in the newer form.
    #[serde(default, deserialize_with = "or_empty")]
    pub reporting_component: String,
    /// First occurrence.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_timestamp: Option<Timestamp>,
    /// Last occurrence.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_timestamp: Option<Timestamp>,
    /// First occurrence, from reporters of the newer form, which leave the other two null.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub event_time: Option<Timestamp>,
    /// Repetitions, from reporters of the newer form.
    #[serde(default)]
    pub series: Option<EventSeries>,
}

/// The part of an [`Event`]'s metadata that is read.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(bound = "'de: 'a")]
pub struct EventMetadata<'a> {
    /// The event's namespace.
    #[serde(default, deserialize_with = "or_empty")]
    pub namespace: String,
    /// The event's labels.
    #[serde(default, deserialize_with = "or_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Texts<'a>,
    /// The event's annotations.
    #[serde(default, deserialize_with = "or_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub annotations: Texts<'a>,
}

/// The object that an [`Event`] is about.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct InvolvedObject {
    /// Its kind, such as `Pod`.
    #[serde(default, deserialize_with = "or_empty")]
    pub kind: String,
    /// Its name.
    #[serde(default, deserialize_with = "or_empty")]
    pub name: String,
    /// Its namespace; empty for cluster-scoped objects such as nodes.
    #[serde(default, deserialize_with = "or_empty")]
    pub namespace: String,
}

/// The reporter of an [`Event`].
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct EventSource {
    /// The component, such as `kubelet`.
    #[serde(default, deserialize_with = "or_empty")]
    pub component: String,
}

/// Repetitions of an [`Event`].
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventSeries {
    /// Last occurrence.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_observed_time: Option<Timestamp>,
}

/// Go's encoders write null for empty maps, lists and structs.
fn or_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An RFC 3339 time; null and an empty text are none.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let Text(text) = Text::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| de::Error::custom("is not a time; expected RFC 3339, such as 2025-12-01T10:00:00Z");
    text.parse().map(Some).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_keep_their_text_and_extra_ones_are_counted() {
        let body = r#"{"version":4,"receiver":null,"commonLabels":null,"alerts":[{"labels":{"alertname":"A"},"extra":1},7]}"#;
        let webhook: Webhook<'_> = serde_json::from_str(body).unwrap();
        assert_eq!(webhook.alerts.count, 2);
        assert_eq!(
            webhook.alerts.kept[0].get(),
            r#"{"labels":{"alertname":"A"},"extra":1}"#
        );
        let alert: Alert<'_> = serde_json::from_str(webhook.alerts.kept[0].get()).unwrap();
        assert_eq!(alert.labels.get("alertname"), Some("A"));
        assert!(serde_json::from_str::<Alert<'_>>(webhook.alerts.kept[1].get()).is_err());

        let many = format!("{{\"alerts\":[{}{{}}]}}", "{},".repeat(MAX_ALERTS + 6));
        let webhook: Webhook<'_> = serde_json::from_str(&many).unwrap();
        assert_eq!(
            (webhook.alerts.kept.len(), webhook.alerts.count),
            (MAX_ALERTS, MAX_ALERTS + 7)
        );
    }

    #[test]
    fn absent_times_are_none_and_others_must_be_times() {
        let read = |text: &str| serde_json::from_str::<Alert<'_>>(text).map(|alert| alert.starts_at);
        assert_eq!(read("{}").unwrap(), None);
        assert_eq!(read(r#"{"startsAt":null}"#).unwrap(), None);
        assert_eq!(read(r#"{"startsAt":""}"#).unwrap(), None);
        let time = "2025-12-01T10:00:00Z";
        assert_eq!(
            read(&format!(r#"{{"startsAt":"{time}"}}"#)).unwrap(),
            Some(time.parse().unwrap())
        );
        for wrong in [
            r#"{"startsAt":1764583200}"#,
            r#"{"startsAt":"noon"}"#,
            r#"{"startsAt":{}}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reads_events_of_the_newer_form() {
        let body = r#"{"type":"Warning","reason":"BackOff","involvedObject":{"kind":"Pod","name":"p"},
            "firstTimestamp":null,"lastTimestamp":null,"eventTime":"2025-12-01T10:00:00.123456Z",
            "metadata":{"labels":{"n":1}},"source":{},"series":{"count":3,"lastObservedTime":"2025-12-01T10:01:00Z"}}"#;
        let event: Event<'_> = serde_json::from_str(body).unwrap();
        assert_eq!(event.last_timestamp, None);
        assert_eq!(event.metadata.labels.get("n"), Some("1"));
        assert_eq!(
            event.series.unwrap().last_observed_time.unwrap(),
            "2025-12-01T10:01:00Z".parse().unwrap()
        );
    }
}
