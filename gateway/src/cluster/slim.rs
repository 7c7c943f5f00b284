//! The part of a RemediationRequest that is kept: payloads and labels of ten thousand requests would not fit.

use kube::Resource;
use kube::api::ObjectMeta;
use serde::Deserialize;
use wire::remediation_request::{RemediationRequest, RemediationRequestStatus, phase_is_active};

use crate::domain::fingerprint::Fingerprint;
use crate::domain::index::Record;
use crate::domain::request::SIGNAL_ID;

/// A RemediationRequest without the fields that deduplication does not need.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "RemediationRequest")]
pub struct SlimRequest {
    /// Its metadata.
    pub metadata: ObjectMeta,
    spec: SlimSpec,
    #[serde(default)]
    status: Option<RemediationRequestStatus>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimSpec {
    signal_fingerprint: String,
    received_time: jiff::Timestamp,
}

impl SlimRequest {
    /// Converts to a record; `None` without a valid fingerprint or a field that every stored object has.
    #[must_use]
    pub fn into_record(self) -> Option<Record> {
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
        // The API's timestamps have the type of another version of the time library.
        let created = metadata.creation_timestamp.map_or(0, |time| time.0.as_second());
        Some(Record {
            fingerprint: Fingerprint::parse(&spec.signal_fingerprint)?,
            namespace: metadata.namespace?,
            name: metadata.name?,
            uid: metadata.uid?,
            resource_version: metadata.resource_version?,
            active: metadata.deletion_timestamp.is_none() && phase_is_active(status.overall_phase.as_deref()),
            created: jiff::Timestamp::from_second(created).unwrap_or_default(),
            first_seen,
            last_seen,
            count,
            signal_id: metadata
                .annotations
                .and_then(|mut annotations| annotations.remove(SIGNAL_ID)),
            counted: status.deduplication.is_some(),
            announced: false,
        })
    }
}
