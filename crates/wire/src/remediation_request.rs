//! The RemediationRequest: the one object that the Gateway creates per incident and the other services work on.
//!
//! This type is the source of `deploy/manifests/crds/remediationrequests.yaml`; a test below fails when they differ.
//! The limits are in the schema, so that the API server enforces them for every writer.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::CustomResource;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

/// Maximum characters of `signalName` and target name.
pub const MAX_NAME_LENGTH: usize = 253;
/// Maximum characters of `signalSource`, target kind and target namespace.
pub const MAX_TERM_LENGTH: usize = 253;

/// The terminal phases: after them, the next signal of the fingerprint creates a new request.
/// Every other phase, including unknown ones, is active.
pub const TERMINAL_PHASES: [&str; 5] = ["Completed", "Failed", "TimedOut", "Skipped", "Cancelled"];

/// The incident that the Gateway found. Immutable: controllers must not find another incident in a request than the
/// one that was decided on.
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
    doc = "One incident to be remediated: created by the Gateway for the first signal, counted by it for each further one, processed by the other services.",
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
    /// Lowercase hex SHA-256, equal for every signal of the same incident.
    #[schemars(regex(pattern = r"^[a-f0-9]{64}$"))]
    pub signal_fingerprint: String,
    /// The alert's name or the event's reason.
    #[schemars(length(min = 1, max = MAX_NAME_LENGTH))]
    pub signal_name: String,
    /// Severity of the signal.
    pub severity: Severity,
    /// Type of the signal.
    pub signal_type: SignalType,
    /// The program that sent the signal, such as `alertmanager` or the event's reporting component.
    #[schemars(length(max = MAX_TERM_LENGTH))]
    pub signal_source: String,
    /// The type of system that the target belongs to.
    pub target_type: TargetType,
    /// The object that the signal is about.
    pub target_resource: TargetResource,
    /// When the incident began, according to the sender.
    #[schemars(with = "DateTime")]
    pub firing_time: Timestamp,
    /// When the Gateway received the signal.
    #[schemars(with = "DateTime")]
    pub received_time: Timestamp,
    /// The signal's labels as received.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = without_default)]
    pub signal_labels: BTreeMap<String, String>,
    /// The signal's annotations as received.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = without_default)]
    pub signal_annotations: BTreeMap<String, String>,
    /// The JSON text of the signal as received: the one alert of a webhook, or the whole event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_payload: Option<String>,
}

/// Severity of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Requires immediate action.
    Critical,
    /// Requires attention.
    Warning,
    /// For information.
    Info,
}

impl Severity {
    /// The name in requests, labels and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// Type of the signal that created a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignalType {
    /// An alert delivered by Prometheus Alertmanager.
    PrometheusAlert,
    /// An Event of the Kubernetes API.
    KubernetesEvent,
}

impl SignalType {
    /// The name in requests, labels and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrometheusAlert => "prometheus-alert",
            Self::KubernetesEvent => "kubernetes-event",
        }
    }
}

/// Type of system that a target belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetType {
    /// An object of the Kubernetes API.
    Kubernetes,
}

/// The object that a signal is about. `Unknown`/`unknown` if the signal does not name one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct TargetResource {
    /// Its kind, such as `Pod`.
    #[schemars(length(min = 1, max = MAX_TERM_LENGTH))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = MAX_NAME_LENGTH))]
    pub name: String,
    /// The namespace in the signal, whether or not it exists.
    #[schemars(length(max = MAX_TERM_LENGTH))]
    pub namespace: String,
}

/// Status of the request. The Gateway writes `deduplication` and `resolvedAt`, and reads `overallPhase`; other services
/// own the remaining fields, which are preserved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = with_unknown_fields)]
pub struct RemediationRequestStatus {
    /// Occurrences of the signal. Absent after the first one: a new signal then costs the API server one write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplication: Option<Deduplication>,
    /// When the sender last said that the signal is resolved. Signals after it, if there are any, are in
    /// `deduplication.lastSeenAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub resolved_at: Option<Timestamp>,
    /// Phase of the remediation. Terminal phases are Completed, Failed, TimedOut, Skipped and Cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overall_phase: Option<String>,
}

/// Number and times of a request's signals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deduplication {
    /// When the Gateway received the first signal.
    #[schemars(with = "DateTime")]
    pub first_seen_at: Timestamp,
    /// When the Gateway received the latest signal.
    #[schemars(with = "DateTime")]
    pub last_seen_at: Timestamp,
    /// Number of signals, including the first.
    #[schemars(range(min = 1))]
    pub occurrence_count: i64,
    /// The part of the count that each running Gateway has added. A process writes only its own entry, an absolute
    /// number, so that it recognises a write whose response was lost. Entries of processes that have written nothing
    /// for a while are removed; what they counted stays in `occurrenceCount`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = without_default)]
    pub writers: BTreeMap<String, WriterCount>,
}

/// What one Gateway process has counted on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WriterCount {
    /// Number of signals.
    pub count: i64,
    /// When it wrote last.
    #[schemars(with = "DateTime")]
    pub written_at: Timestamp,
}

impl RemediationRequest {
    /// Whether the request is active, so that a further signal is a duplicate.
    pub fn is_active(&self) -> bool {
        phase_is_active(
            self.status
                .as_ref()
                .and_then(|status| status.overall_phase.as_deref()),
        )
    }

    /// Number of signals so far, including the first.
    pub fn occurrence_count(&self) -> i64 {
        let counted = self
            .status
            .as_ref()
            .and_then(|status| status.deduplication.as_ref());
        counted.map_or(1, |deduplication| deduplication.occurrence_count)
    }
}

/// Whether a phase is active: no phase yet and unknown phases are.
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

/// The API server would write a default in the schema into every stored object.
fn without_default(schema: &mut Schema) {
    schema.remove("default");
}

/// Without this the API server prunes the status fields of other services.
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
    fn deployed_crd_equals_the_type() {
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
    fn crd_has_no_defaults() {
        let crd = serde_json::to_string(&RemediationRequest::crd()).unwrap();
        assert!(
            !crd.contains("\"default\""),
            "a default would be written into stored objects"
        );
    }

    #[test]
    fn crd_has_an_immutable_spec_and_a_selectable_fingerprint() {
        let crd = serde_json::to_value(RemediationRequest::crd()).unwrap();
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
    fn only_terminal_phases_end_a_request() {
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
