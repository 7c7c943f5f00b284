//! The pointer of an incident as an object of the API: a Lease, whose holder is the current request.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ObjectMeta;
use serde::Deserialize;

use super::Pointer;
use super::slim::{self, Unreadable};
use crate::domain::fingerprint::Fingerprint;

/// The name of an incident's Lease.
pub(super) fn name(fingerprint: Fingerprint) -> String {
    format!("incident-{fingerprint}")
}

/// The Lease of an incident with this holder, to replace `known`.
pub(super) fn lease(
    fingerprint: Fingerprint,
    known: Option<&Pointer>,
    namespace: &str,
    holder: &str,
) -> Lease {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Lease {
        metadata: ObjectMeta {
            name: Some(name(fingerprint)),
            namespace: Some(namespace.to_owned()),
            resource_version: known.map(|known| known.resource_version.clone()),
            labels: Some(
                [
                    label("app.kubernetes.io/managed-by", "gateway"),
                    label("app.kubernetes.io/component", "incident"),
                ]
                .into(),
            ),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Some(MicroTime(k8s_openapi::jiff::Timestamp::now())),
            ..LeaseSpec::default()
        }),
    }
}

/// Parses a Lease.
pub(super) fn read(text: &[u8]) -> Result<Pointer, Unreadable> {
    #[derive(Deserialize)]
    struct Text {
        metadata: Metadata,
        spec: Spec,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        resource_version: String,
        name: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        holder_identity: String,
    }
    let Text { metadata, spec } = slim::parse(text)?;
    let Some((namespace, name)) = spec.holder_identity.split_once('/') else {
        return Err(Unreadable {
            object: metadata.name,
            field: "spec.holderIdentity".to_owned(),
        });
    };
    Ok(Pointer {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        resource_version: metadata.resource_version,
    })
}
