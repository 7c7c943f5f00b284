//! The RemediationRequest: the one object that the Gateway makes of a problem and the other services work on.
//!
//! This type is the source of `deploy/manifests/crds/remediationrequests.yaml`; a test below fails when they differ.
//! The limits are in the schema, so the API server keeps what the Gateway promises, whoever writes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::CustomResource;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

/// Longest `signalName` and target name, in characters.
pub const MAX_NAME_LENGTH: usize = 253;
/// Longest `signalSource`, target kind and target namespace, in characters.
pub const MAX_TERM_LENGTH: usize = 253;

/// The phases after which a request is over and the next signal of its fingerprint makes a new one.
/// Every other phase, also one that this list does not know, is active.
pub const TERMINAL_PHASES: [&str; 5] = ["Completed", "Failed", "TimedOut", "Skipped", "Cancelled"];

/// What the Gateway found out about a problem. Never changes after it was created: who acts on a request must not
/// find another problem in it than the one that was decided on.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kubernaut.ai",
    version = "v1alpha1",
    kind = "RemediationRequest",
    plural = "remediationrequests",
    shortname = "rr",
    namespaced,
    status = "RemediationRequestStatus",
    derive = "PartialEq",
    doc = "One problem to be remedied: made by the Gateway of the first signal, counted by it for every further one, worked on by the other services.",
    selectable = ".spec.signalFingerprint",
    printcolumn = r#"{"name":"Signal", "type":"string", "jsonPath":".spec.signalName"}"#,
    printcolumn = r#"{"name":"Severity", "type":"string", "jsonPath":".spec.severity"}"#,
    printcolumn = r#"{"name":"Kind", "type":"string", "jsonPath":".spec.targetResource.kind"}"#,
    printcolumn = r#"{"name":"Target", "type":"string", "jsonPath":".spec.targetResource.name"}"#,
    printcolumn = r#"{"name":"Phase", "type":"string", "jsonPath":".status.overallPhase"}"#,
    printcolumn = r#"{"name":"Count", "type":"integer", "jsonPath":".status.deduplication.occurrenceCount", "description":"Signals seen; empty while it is one"}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{ "rule": "self == oldSelf", "message": "spec is immutable" }]))]
pub struct RemediationRequestSpec {
    /// Lowercase hex SHA-256 that is the same for every signal of the same problem.
    #[schemars(regex(pattern = r"^[a-f0-9]{64}$"))]
    pub signal_fingerprint: String,
    /// The alert's name or the event's reason.
    #[schemars(length(min = 1, max = MAX_NAME_LENGTH))]
    pub signal_name: String,
    /// How bad it is.
    pub severity: Severity,
    /// What kind of signal it was.
    pub signal_type: SignalType,
    /// Which program sent the signal, such as `alertmanager` or the event's reporting component.
    #[schemars(length(max = MAX_TERM_LENGTH))]
    pub signal_source: String,
    /// What kind of system the target is part of.
    pub target_type: TargetType,
    /// The object that the signal is about.
    pub target_resource: TargetResource,
    /// When the problem began, as the sender says.
    #[schemars(with = "DateTime")]
    pub firing_time: Timestamp,
    /// When the Gateway took the signal.
    #[schemars(with = "DateTime")]
    pub received_time: Timestamp,
    /// The signal's labels as they came.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = without_default)]
    pub signal_labels: BTreeMap<String, String>,
    /// The signal's annotations as they came.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = without_default)]
    pub signal_annotations: BTreeMap<String, String>,
    /// The JSON text of the signal as it came: the one alert of a webhook, or the whole event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_payload: Option<String>,
}

/// How bad a signal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody has to act now.
    Critical,
    /// Somebody has to look.
    Warning,
    /// Somebody may want to know.
    Info,
}

impl Severity {
    /// The word in requests, labels and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// What kind of signal a request was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignalType {
    /// An alert that Prometheus's AlertManager delivered.
    PrometheusAlert,
    /// An Event of the Kubernetes API.
    KubernetesEvent,
}

impl SignalType {
    /// The word in requests, labels and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrometheusAlert => "prometheus-alert",
            Self::KubernetesEvent => "kubernetes-event",
        }
    }
}

/// What kind of system a target is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetType {
    /// An object of the Kubernetes API.
    Kubernetes,
}

/// The object that a signal is about. `Unknown`/`unknown` where the signal does not say.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct TargetResource {
    /// Its kind, such as `Pod`.
    #[schemars(length(min = 1, max = MAX_TERM_LENGTH))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = MAX_NAME_LENGTH))]
    pub name: String,
    /// The namespace that the signal names, whether or not it exists.
    #[schemars(length(max = MAX_TERM_LENGTH))]
    pub namespace: String,
}

/// What became of the request. The Gateway writes `deduplication` and reads `overallPhase`; the rest is the other
/// services' and is kept as they wrote it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = with_unknown_fields)]
pub struct RemediationRequestStatus {
    /// How often the signal came. Absent while it came once: a new signal then costs the API server one write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplication: Option<Deduplication>,
    /// How far the remediation is. It is over when Completed, Failed, TimedOut, Skipped or Cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overall_phase: Option<String>,
}

/// How often a request's signal came, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deduplication {
    /// When the Gateway took the first signal.
    #[schemars(with = "DateTime")]
    pub first_seen_at: Timestamp,
    /// When the Gateway took the latest signal.
    #[schemars(with = "DateTime")]
    pub last_seen_at: Timestamp,
    /// Signals, the first included.
    #[schemars(range(min = 1))]
    pub occurrence_count: i64,
}

impl RemediationRequest {
    /// Whether the problem is being worked on, so that a further signal of it is a duplicate.
    pub fn is_active(&self) -> bool {
        phase_is_active(
            self.status
                .as_ref()
                .and_then(|status| status.overall_phase.as_deref()),
        )
    }

    /// Signals so far, the first included.
    pub fn occurrence_count(&self) -> i64 {
        let counted = self
            .status
            .as_ref()
            .and_then(|status| status.deduplication.as_ref());
        counted.map_or(1, |deduplication| deduplication.occurrence_count)
    }
}

/// Whether a request in this phase is still being worked on. No phase yet is active, and so is an unknown one.
pub fn phase_is_active(phase: Option<&str>) -> bool {
    phase.is_none_or(|phase| !TERMINAL_PHASES.contains(&phase))
}

/// The schema of a timestamp: RFC 3339, fractions of a second allowed.
struct DateTime;

impl JsonSchema for DateTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DateTime".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A default in the schema would be written into every stored object by the API server.
fn without_default(schema: &mut Schema) {
    schema.remove("default");
}

/// Without this the API server prunes what other services put into the status.
fn with_unknown_fields(schema: &mut Schema) {
    schema.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;

    use super::*;

    const CRD_FILE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/manifests/crds/remediationrequests.yaml"
    );
    const RENEW: &str = "UPDATE_CRD=1 cargo test -p wire";

    fn generated() -> String {
        let yaml = serde_saphyr::to_string(&RemediationRequest::crd()).unwrap();
        format!("# Generated from crates/wire/src/remediation_request.rs by `{RENEW}`.\n{yaml}")
    }

    #[test]
    fn the_deployed_crd_is_the_one_of_the_type() {
        let wanted = generated();
        if std::env::var_os("UPDATE_CRD").is_some() {
            std::fs::write(CRD_FILE, &wanted).unwrap();
        }
        let deployed = std::fs::read_to_string(CRD_FILE).unwrap_or_default();
        let differs = wanted
            .lines()
            .zip(deployed.lines())
            .position(|(wanted, deployed)| wanted != deployed);
        assert!(
            wanted == deployed,
            "deploy/manifests/crds/remediationrequests.yaml differs from the Rust type, first in line {}: \
             renew it with `{RENEW}` and commit it",
            differs.unwrap_or_else(|| wanted.lines().count().min(deployed.lines().count())) + 1,
        );
    }

    #[test]
    fn the_crd_has_no_defaults_and_keeps_its_promises() {
        let crd = serde_json::to_value(RemediationRequest::crd()).unwrap();
        assert!(
            !crd.to_string().contains("\"default\""),
            "a default would be written into stored objects"
        );
        let version = &crd["spec"]["versions"][0];
        assert_eq!(
            version["selectableFields"][0]["jsonPath"],
            ".spec.signalFingerprint"
        );
        assert_eq!(version["subresources"]["status"], serde_json::json!({}));
        let schema = &version["schema"]["openAPIV3Schema"]["properties"];
        assert_eq!(
            schema["spec"]["x-kubernetes-validations"][0]["rule"],
            "self == oldSelf"
        );
        assert_eq!(
            schema["spec"]["properties"]["signalFingerprint"]["pattern"],
            "^[a-f0-9]{64}$"
        );
        assert_eq!(schema["spec"]["properties"]["signalName"]["maxLength"], 253);
        assert_eq!(schema["status"]["x-kubernetes-preserve-unknown-fields"], true);
    }

    #[test]
    fn only_the_terminal_phases_end_a_request() {
        for phase in TERMINAL_PHASES {
            assert!(!phase_is_active(Some(phase)), "{phase}");
        }
        for phase in [
            None,
            Some(""),
            Some("Pending"),
            Some("Processing"),
            Some("SomethingNew"),
        ] {
            assert!(phase_is_active(phase), "{phase:?}");
        }
    }
}
