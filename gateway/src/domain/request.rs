//! The RemediationRequest of a signal: its name, namespace, labels and spec.

use std::collections::BTreeMap;

use kube::api::ObjectMeta;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use wire::remediation_request::{RemediationRequest, RemediationRequestSpec, TargetResource, TargetType};

use super::fingerprint::Fingerprint;
use super::signal::Signal;
use super::target::Target;

/// The id of the signal that created the request: a process that finds the name taken recognises its own earlier
/// attempt whose response was lost.
pub const SIGNAL_ID: &str = "kubernaut.ai/signal-id";
/// The missing namespace that a signal named.
pub const ORIGIN_NAMESPACE: &str = "kubernaut.ai/origin-namespace";
/// Fields of the spec that were too long to be stored completely, separated by commas.
pub const TRUNCATED: &str = "kubernaut.ai/truncated";
/// The cluster of a signal that names one, unless it is the Gateway's own.
pub const CLUSTER: &str = "kubernaut.ai/cluster";
/// Marks a request in the fallback namespace.
pub const CLUSTER_SCOPED: &str = "kubernaut.ai/cluster-scoped";

const MAX_LABEL_LENGTH: usize = 63;

/// The name of the request that follows the one with the uid `predecessor`, or of an incident's first one.
///
/// Every replica derives the same next name, so that the API server's uniqueness lets one of them create it.
#[must_use]
pub fn name(fingerprint: Fingerprint, predecessor: Option<&str>) -> String {
    let link = Sha256::digest(predecessor.unwrap_or_default().as_bytes());
    format!(
        "rr-{}-{}",
        &fingerprint.to_string()[..12],
        hex::encode(&link[..6])
    )
}

/// The namespace in which a request is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The signal's own namespace.
    Own,
    /// This one, because the signal's does not exist.
    Fallback(&'a str),
}

/// The request of a signal.
#[must_use]
pub fn build(
    signal: &Signal,
    fingerprint: Fingerprint,
    signal_id: Uuid,
    name: &str,
    place: Place<'_>,
) -> RemediationRequest {
    let mut request = RemediationRequest::new(name, spec(signal, fingerprint));
    let fallback = match place {
        Place::Own => None,
        Place::Fallback(fallback) => Some(fallback.to_owned()),
    };
    let mut annotations = BTreeMap::from([
        (
            "kubernaut.ai/created-at".to_owned(),
            signal.received_time.to_string(),
        ),
        (SIGNAL_ID.to_owned(), signal_id.to_string()),
    ]);
    if !signal.truncated.is_empty() {
        annotations.insert(TRUNCATED.to_owned(), signal.truncated.join(","));
    }
    request.metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels(signal, fingerprint, fallback.is_some())),
        annotations: Some(annotations),
        namespace: Some(fallback.unwrap_or_else(|| signal.target.namespace.clone())),
        ..ObjectMeta::default()
    };
    request
}

/// The spec of a signal's request.
#[must_use]
pub fn spec(signal: &Signal, fingerprint: Fingerprint) -> RemediationRequestSpec {
    let Target {
        namespace,
        kind,
        name,
    } = signal.target.clone();
    RemediationRequestSpec {
        signal_fingerprint: fingerprint.to_string(),
        signal_name: signal.name.clone(),
        severity: signal.severity,
        signal_type: signal.signal_type,
        signal_source: signal.source.clone(),
        target_type: TargetType::Kubernetes,
        target_resource: TargetResource {
            kind,
            name,
            namespace,
        },
        firing_time: signal.firing_time,
        received_time: signal.received_time,
        signal_labels: signal.labels.clone(),
        signal_annotations: signal.annotations.clone(),
        original_payload: signal.payload.clone(),
    }
}

fn labels(signal: &Signal, fingerprint: Fingerprint, in_fallback: bool) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), "gateway".to_owned()),
        ("app.kubernetes.io/component".to_owned(), "remediation".to_owned()),
        (
            "kubernaut.ai/signal-type".to_owned(),
            signal.signal_type.as_str().to_owned(),
        ),
        (
            "kubernaut.ai/severity".to_owned(),
            signal.severity.as_str().to_owned(),
        ),
        (
            "kubernaut.ai/signal-fingerprint".to_owned(),
            label_value(&fingerprint.to_string()),
        ),
    ]);
    if let Some(cluster) = &signal.distinction.cluster {
        labels.insert(CLUSTER.to_owned(), label_value(cluster));
    }
    if in_fallback {
        labels.insert(ORIGIN_NAMESPACE.to_owned(), label_value(&signal.target.namespace));
        labels.insert(CLUSTER_SCOPED.to_owned(), "true".to_owned());
    }
    labels
}

/// The nearest valid label value: at most 63 of letters, digits, `-`, `_` and `.`, a letter or digit at both ends.
fn label_value(text: &str) -> String {
    let legal = |character: char| match character {
        '-' | '_' | '.' => character,
        other if other.is_ascii_alphanumeric() => other,
        _ => '-',
    };
    let edge = |character: char| !character.is_ascii_alphanumeric();
    let trimmed: String = text
        .chars()
        .map(legal)
        .skip_while(|character| edge(*character))
        .take(MAX_LABEL_LENGTH)
        .collect();
    trimmed.trim_end_matches(edge).to_owned()
}

/// Whether a namespace of this name can exist. Other names must not get into a request's path.
#[must_use]
pub fn is_namespace_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(legal)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signal::Distinction;
    use jiff::Timestamp;
    use wire::remediation_request::{Severity, SignalType};

    fn signal(namespace: &str) -> Signal {
        Signal {
            name: "HighMemoryUsage".into(),
            severity: Severity::Critical,
            signal_type: SignalType::PrometheusAlert,
            source: "alertmanager".into(),
            target: Target {
                namespace: namespace.into(),
                kind: "Pod".into(),
                name: "p-1".into(),
            },
            distinction: Distinction::default(),
            firing_time: Timestamp::UNIX_EPOCH,
            received_time: Timestamp::from_second(1_700_000_000).unwrap(),
            labels: BTreeMap::from([("alertname".into(), "HighMemoryUsage".into())]),
            annotations: BTreeMap::new(),
            payload: Some("{}".into()),
            truncated: Vec::new(),
        }
    }

    #[test]
    fn replicas_derive_the_same_name_from_the_same_predecessor() {
        let fingerprint = signal("shop").fingerprint();
        let first = name(fingerprint, None);
        let second = name(fingerprint, Some("3c7e1b1e-0000-4000-8000-000000000000"));
        assert_eq!(
            first,
            format!("rr-{}-e3b0c44298fc", &fingerprint.to_string()[..12])
        );
        assert_eq!(
            second,
            name(fingerprint, Some("3c7e1b1e-0000-4000-8000-000000000000"))
        );
        assert_ne!(first, second);
        assert!(second.len() <= 63);
    }

    #[test]
    fn request_is_in_the_signals_namespace_or_labelled_with_its_origin() {
        let signal = signal("Bad Name!");
        let fingerprint = signal.fingerprint();
        let own = build(&signal, fingerprint, Uuid::nil(), "rr-a", Place::Own);
        assert_eq!(own.metadata.namespace.as_deref(), Some("Bad Name!"));
        assert!(!own.metadata.labels.unwrap().contains_key(CLUSTER_SCOPED));

        let fallback = build(
            &signal,
            fingerprint,
            Uuid::nil(),
            "rr-a",
            Place::Fallback("kubernaut-system"),
        );
        let labels = fallback.metadata.labels.unwrap();
        assert_eq!(fallback.metadata.namespace.as_deref(), Some("kubernaut-system"));
        assert_eq!(labels[ORIGIN_NAMESPACE], "Bad-Name");
        assert_eq!(labels[CLUSTER_SCOPED], "true");
        assert_eq!(
            labels["kubernaut.ai/signal-fingerprint"],
            fingerprint.to_string()[..63]
        );
        assert_eq!(fallback.spec.target_resource.namespace, "Bad Name!");
    }

    #[test]
    fn cluster_of_a_signal_is_a_label() {
        let mut signal = signal("shop");
        signal.distinction.cluster = Some("eu/1".to_owned());
        let request = build(&signal, signal.fingerprint(), Uuid::nil(), "rr-a", Place::Own);
        assert_eq!(request.metadata.labels.unwrap()[CLUSTER], "eu-1");
    }

    #[test]
    fn incomplete_fields_are_listed() {
        let mut signal = signal("shop");
        let annotation = |signal: &Signal| {
            let request = build(signal, signal.fingerprint(), Uuid::nil(), "rr-a", Place::Own);
            request.metadata.annotations.unwrap().remove(TRUNCATED)
        };
        assert_eq!(annotation(&signal), None);
        signal.truncated = vec!["signalAnnotations", "originalPayload"];
        assert_eq!(
            annotation(&signal).as_deref(),
            Some("signalAnnotations,originalPayload")
        );
    }

    #[test]
    fn label_values_are_always_valid() {
        for (text, expected) in [
            ("", ""),
            ("---", ""),
            ("a b", "a-b"),
            ("-a-", "a"),
            ("ü", ""),
            ("a/ü", "a"),
            (&"x".repeat(70), &"x".repeat(63)),
            (&format!("{}-y", "x".repeat(62)), &"x".repeat(62)),
        ] {
            assert_eq!(label_value(text), *expected, "{text}");
        }
    }

    #[test]
    fn only_valid_namespaces_get_into_a_path() {
        for (text, legal) in [
            ("shop", true),
            ("a-1", true),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("Shop", false),
            ("a/b", false),
            ("..", false),
            ("a?b", false),
            (&"a".repeat(64), false),
        ] {
            assert_eq!(is_namespace_name(text), legal, "{text}");
        }
    }
}
