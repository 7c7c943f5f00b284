//! The types that the services send and receive: audit events, problem details, webhook payloads and the
//! RemediationRequest custom resource.
//!
//! ```
//! let payload = br#"{"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "PodDown"}}]}"#;
//! let webhook: wire::webhook::Webhook = serde_json::from_slice(payload)?;
//! let alert: wire::webhook::Alert = serde_json::from_str(webhook.alerts.kept[0].get())?;
//! assert_eq!(alert.labels.get("alertname"), Some("PodDown"));
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod audit;
pub mod problem;
pub mod remediation_request;
mod texts;
pub mod webhook;
