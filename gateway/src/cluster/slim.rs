//! The part of a RemediationRequest that is kept: payloads and labels of ten thousand requests would not fit.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wire::remediation_request::{Deduplication, WriterCount, phase_is_active};

use super::Writer;

use crate::domain::fingerprint::Fingerprint;
use crate::domain::index::{Ended, Record};

/// Number of entries in a status from which stale ones are removed.
const MAX_WRITERS: usize = 8;
/// How long an entry is kept: longer than any write takes whose response was lost.
const WRITER_TTL: SignedDuration = SignedDuration::from_mins(10);

/// A RemediationRequest without the fields that deduplication does not need.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimRequest {
    metadata: Metadata,
    spec: SlimSpec,
    #[serde(default)]
    status: Option<SlimStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimStatus {
    deduplication: Option<Deduplication>,
    overall_phase: Option<String>,
    // Other services' fields, which may have any form.
    outcome: serde_json::Value,
    completed_at: serde_json::Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
    annotations: Option<Annotations>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    // The key of `domain::request::SIGNAL_ID`.
    #[serde(rename = "kubernaut.ai/signal-id")]
    signal_id: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimSpec {
    signal_fingerprint: String,
    received_time: Timestamp,
}

/// An object that cannot be read. Names the object and the field, never a value of the payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object {object} cannot be read: {field} is missing or invalid")]
pub struct Unreadable {
    /// `namespace/name`.
    pub object: String,
    /// The path of the first invalid field.
    pub field: String,
}

/// Parses an object or a part of it; an error names the field.
///
/// # Errors
/// [`Unreadable`].
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Unreadable> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // The error's own text may quote the payload.
        unreadable(text, &error.path().to_string())
    })
}

/// Parses an object into a record, as the process `writer` sees it.
///
/// # Errors
/// [`Unreadable`], also for an object without a fingerprint, uid or version.
pub fn record(text: &[u8], writer: &Writer) -> Result<Record, Unreadable> {
    parse::<SlimRequest>(text)?
        .into_record(writer)
        .ok_or_else(|| unreadable(text, "metadata or spec.signalFingerprint"))
}

fn unreadable(text: &[u8], field: &str) -> Unreadable {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        metadata: Metadata,
    }
    let Named { metadata } = serde_json::from_slice(text).unwrap_or_default();
    let [namespace, name] =
        [metadata.namespace, metadata.name].map(|part| part.unwrap_or_else(|| "?".to_owned()));
    Unreadable {
        object: format!("{namespace}/{name}"),
        field: field.to_owned(),
    }
}

impl SlimRequest {
    fn into_record(self, writer: &Writer) -> Option<Record> {
        let Self {
            metadata,
            spec,
            status,
        } = self;
        let status = status.unwrap_or_default();
        let (first_seen, last_seen, count) = match &status.deduplication {
            Some(known) => (known.first_seen_at, known.last_seen_at, known.occurrence_count),
            None => (spec.received_time, spec.received_time, 1),
        };
        let active =
            metadata.deletion_timestamp.is_none() && phase_is_active(status.overall_phase.as_deref());
        let completed = status.completed_at.as_str().and_then(|time| time.parse().ok());
        let ended = status.outcome.as_str().filter(|_| !active).map(|outcome| Ended {
            outcome: outcome.to_owned(),
            at: completed.unwrap_or(last_seen),
        });
        let counted = status.deduplication.is_some();
        let writers = status
            .deduplication
            .map(|known| known.writers)
            .unwrap_or_default();
        Some(Record {
            fingerprint: Fingerprint::parse(&spec.signal_fingerprint)?,
            namespace: metadata.namespace?,
            name: metadata.name?,
            uid: metadata.uid?,
            resource_version: metadata.resource_version?,
            active,
            created: metadata.creation_timestamp.unwrap_or_default(),
            first_seen,
            last_seen,
            count,
            own: writers.get(writer.as_str()).map_or(0, |own| own.count),
            stale_writers: stale(&writers, writer),
            signal_id: metadata.annotations.and_then(|annotations| annotations.signal_id),
            counted,
            announced: false,
            ended: ended.map(Box::new),
        })
    }
}

/// The entries of other processes that have written nothing for a while, if there are many.
fn stale(writers: &BTreeMap<String, WriterCount>, writer: &Writer) -> Vec<String> {
    if writers.len() <= MAX_WRITERS {
        return Vec::new();
    }
    let now = Timestamp::now();
    let is_stale = |entry: &WriterCount| now.duration_since(entry.written_at) > WRITER_TTL;
    let others = writers.iter().filter(|(name, _)| *name != writer.as_str());
    others
        .filter(|(_, entry)| is_stale(entry))
        .map(|(name, _)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::request::SIGNAL_ID;

    fn object() -> Value {
        json!({
            "metadata": {
                "namespace": "shop", "name": "rr-1", "uid": "u", "resourceVersion": "7",
                "creationTimestamp": "2026-01-02T03:04:05Z", "annotations": { SIGNAL_ID: "s", "other": "x" },
            },
            "spec": {
                "signalFingerprint": "ab".repeat(32), "receivedTime": "2026-01-02T03:04:04.5Z",
                "originalPayload": "secret",
            },
            "status": { "overallPhase": "Failed" },
        })
    }

    #[test]
    fn object_becomes_a_record() {
        let record = record(object().to_string().as_bytes(), &Writer::default()).unwrap();
        assert_eq!((record.signal_id.as_deref(), record.active), (Some("s"), false));
        assert_eq!(record.created.to_string(), "2026-01-02T03:04:05Z");
        assert_eq!((record.count, record.counted), (1, false));
    }

    #[test]
    fn outcome_of_an_ended_request_is_kept() {
        let ended = |outcome: Value, completed: Value| {
            let mut object = object();
            object["status"] =
                json!({ "overallPhase": "Completed", "outcome": outcome, "completedAt": completed });
            let record = record(object.to_string().as_bytes(), &Writer::default()).unwrap();
            record.ended.map(|ended| (ended.outcome, ended.at.to_string()))
        };
        let outcome = || "NoActionRequired".to_owned();
        assert_eq!(
            ended(json!(outcome()), json!("2026-01-02T05:00:00Z")),
            Some((outcome(), "2026-01-02T05:00:00Z".to_owned()))
        );
        let last_seen = "2026-01-02T03:04:04.5Z".to_owned();
        assert_eq!(ended(json!(outcome()), Value::Null), Some((outcome(), last_seen)));
        assert_eq!(ended(json!(7), json!(7)), None);
    }

    #[test]
    fn unreadable_object_is_named_without_its_payload() {
        for (pointer, value, field) in [
            ("/spec/receivedTime", json!("secret"), "spec.receivedTime"),
            (
                "/spec/signalFingerprint",
                json!({ "a": "secret" }),
                "spec.signalFingerprint",
            ),
            (
                "/spec/signalFingerprint",
                json!("secret"),
                "metadata or spec.signalFingerprint",
            ),
            ("/spec", json!("secret"), "spec"),
            ("/status/overallPhase", json!(["secret"]), "status.overallPhase"),
            ("/metadata/uid", Value::Null, "metadata or spec.signalFingerprint"),
        ] {
            let mut object = object();
            *object.pointer_mut(pointer).unwrap() = value;
            let error = record(object.to_string().as_bytes(), &Writer::default()).unwrap_err();
            let expected = Unreadable {
                object: "shop/rr-1".to_owned(),
                field: field.to_owned(),
            };
            assert_eq!(error, expected, "{pointer}");
            assert!(!error.to_string().contains("secret"));
        }
        assert_eq!(record(b"[]", &Writer::default()).unwrap_err().object, "?/?");
    }

    #[test]
    fn own_count_is_known_and_entries_of_ended_processes_are_stale() {
        let now = Timestamp::now();
        let writer = Writer::default();
        let entry = |age_minutes: i64| {
            let written_at = now - SignedDuration::from_mins(age_minutes);
            json!({ "count": 2, "writtenAt": written_at })
        };
        let mut writers: BTreeMap<String, Value> = (0..8)
            .map(|age| (format!("w{age}"), entry(2 * age + 1)))
            .collect();
        writers.insert(writer.as_str().to_owned(), entry(60));
        let mut object = object();
        object["status"]["deduplication"] = json!({
            "firstSeenAt": now, "lastSeenAt": now, "occurrenceCount": 20, "writers": writers,
        });
        let record = record(object.to_string().as_bytes(), &writer).unwrap();
        assert_eq!((record.count, record.own), (20, 2));
        assert_eq!(record.stale_writers, ["w5", "w6", "w7"]);
    }
}
