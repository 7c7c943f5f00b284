//! Writes the audit events of signals and requests to the spool.

use std::sync::Arc;

use wire::audit::AuditEvent;
use wire::remediation_request::RemediationRequestSpec;

use super::events;
use super::spool::Spool;
use crate::deduplicate::Trail;
use crate::domain::index::Record;

/// Writes events to a spool. Cheap to clone.
#[derive(Clone)]
pub struct SpoolTrail(pub Arc<Spool>);

impl SpoolTrail {
    /// Returns when the events are stored.
    pub async fn write(&self, events: &[AuditEvent]) {
        let texts: Vec<Vec<u8>> = events
            .iter()
            .filter_map(|event| {
                serde_json::to_vec(event)
                    .inspect_err(|error| tracing::error!(%error, "cannot store an audit event"))
                    .ok()
            })
            .collect();
        if !texts.is_empty() {
            self.0.append(texts).await;
        }
    }
}

impl Trail for SpoolTrail {
    async fn announce(&self, record: &Record, spec: &RemediationRequestSpec) {
        self.write(&events::of_request(record, spec)).await;
    }
}
