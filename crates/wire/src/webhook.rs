//! Payloads of signal senders: Alertmanager's webhook (version 4) and Events of the Kubernetes API.
//!
//! Only the fields that are read are listed; unknown fields are allowed. A present field must have its type, and an
//! absent or null one is empty: which fields are required is decided where signals are created from them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Labels or annotations of an alert.
pub type Labels = BTreeMap<String, String>;

/// One delivery of Alertmanager: the alerts of one group.
///
/// The alerts stay raw, so that each is parsed, rejected and stored by itself: as an [`Alert`].
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", bound = "'de: 'a")]
pub struct Webhook<'a> {
    /// The format's version, `4`.
    #[serde(default, deserialize_with = "or_empty")]
    pub version: String,
    /// The receiver's name in Alertmanager's configuration.
    #[serde(default, deserialize_with = "or_empty")]
    pub receiver: String,
    /// Labels common to all alerts of the group.
    #[serde(default, deserialize_with = "or_empty")]
    pub common_labels: Labels,
    /// Annotations common to all alerts of the group.
    #[serde(default, deserialize_with = "or_empty")]
    pub common_annotations: Labels,
    /// The alerts, each as its own JSON text.
    #[serde(default, deserialize_with = "or_empty", borrow)]
    #[schema(value_type = Vec<Alert>)]
    pub alerts: Vec<&'a RawValue>,
}

/// One alert of a [`Webhook`].
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// `firing` or `resolved`.
    #[serde(default, deserialize_with = "or_empty")]
    pub status: String,
    /// The labels that identify the alert, including `alertname`.
    #[serde(default, deserialize_with = "or_empty")]
    pub labels: Labels,
    /// The annotations that describe the alert.
    #[serde(default, deserialize_with = "or_empty")]
    pub annotations: Labels,
    /// When it began to fire.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Option<Timestamp>,
    /// Link to the rule that fired.
    #[serde(default, rename = "generatorURL", deserialize_with = "or_empty")]
    pub generator_url: String,
}

/// An Event of the Kubernetes API, as `kubectl get event -o json` shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
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
    pub metadata: EventMetadata,
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
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct EventMetadata {
    /// The event's namespace.
    #[serde(default, deserialize_with = "or_empty")]
    pub namespace: String,
    /// The event's labels.
    #[serde(default, deserialize_with = "or_empty")]
    pub labels: Labels,
    /// The event's annotations.
    #[serde(default, deserialize_with = "or_empty")]
    pub annotations: Labels,
}

/// The object that an [`Event`] is about.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct EventSource {
    /// The component, such as `kubelet`.
    #[serde(default, deserialize_with = "or_empty")]
    pub component: String,
}

/// Repetitions of an [`Event`].
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_empty_and_alerts_keep_their_text() {
        let body =
            r#"{"version":"4","commonLabels":null,"alerts":[{"labels":{"alertname":"A"},"extra":1},7]}"#;
        let webhook: Webhook<'_> = serde_json::from_str(body).unwrap();
        assert!(webhook.common_labels.is_empty());
        assert_eq!(
            webhook.alerts[0].get(),
            r#"{"labels":{"alertname":"A"},"extra":1}"#
        );
        assert_eq!(
            serde_json::from_str::<Alert>(webhook.alerts[0].get())
                .unwrap()
                .labels["alertname"],
            "A"
        );
        assert!(serde_json::from_str::<Alert>(webhook.alerts[1].get()).is_err());
    }

    #[test]
    fn reads_events_of_the_newer_form() {
        let body = r#"{"type":"Warning","reason":"BackOff","involvedObject":{"kind":"Pod","name":"p"},
            "firstTimestamp":null,"lastTimestamp":null,"eventTime":"2025-12-01T10:00:00.123456Z",
            "source":{},"series":{"count":3,"lastObservedTime":"2025-12-01T10:01:00Z"}}"#;
        let event: Event = serde_json::from_str(body).unwrap();
        assert_eq!(event.last_timestamp, None);
        assert_eq!(
            event.series.unwrap().last_observed_time.unwrap(),
            "2025-12-01T10:01:00Z".parse().unwrap()
        );
    }
}
