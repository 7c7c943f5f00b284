//! Workflows as JSON.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::event::Micros;
use crate::domain::workflow::{Labels, WorkflowStatus};
use crate::store::workflows::{ListRequest, Workflow};

/// A version of a workflow.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkflowJson {
    workflow_id: Uuid,
    workflow_name: String,
    version: String,
    /// Order of the versions, from 1.
    revision: i32,
    /// Whether it is the newest version.
    is_latest: bool,
    name: String,
    description: String,
    content: String,
    /// SHA-256 of the content, 64 hex digits.
    content_hash: String,
    labels: Labels,
    status: WorkflowStatus,
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    updated_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
    disabled_reason: Option<String>,
}

impl From<Workflow> for WorkflowJson {
    fn from(workflow: Workflow) -> Self {
        Self {
            workflow_id: workflow.workflow_id,
            workflow_name: workflow.workflow_name,
            version: workflow.version,
            revision: workflow.revision,
            is_latest: workflow.is_latest,
            name: workflow.name,
            description: workflow.description,
            content: workflow.content,
            content_hash: hex::encode(workflow.content_hash),
            labels: workflow.labels,
            status: workflow.status,
            created_by: workflow.created_by,
            created_at: workflow.created_at.to_timestamp(),
            updated_by: workflow.updated_by,
            updated_at: workflow.updated_at.map(Micros::to_timestamp),
            disabled_reason: workflow.disabled_reason,
        }
    }
}

/// A page of versions.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkflowPage {
    /// By name, newest first.
    workflows: Vec<WorkflowJson>,
    /// Total number.
    total: i64,
    /// Maximum per page.
    limit: i64,
    /// Number of versions before it.
    offset: i64,
    /// Offset of the next page, if there is one; a page ends before `limit` when its versions are large.
    next_offset: Option<i64>,
}

impl WorkflowPage {
    pub(super) fn of(found: Vec<Workflow>, request: &ListRequest, total: i64) -> Self {
        let ListRequest { limit, offset, .. } = request;
        let next = offset.saturating_add(i64::try_from(found.len()).unwrap_or(i64::MAX));
        let workflows = found.into_iter().map(WorkflowJson::from).collect();
        Self {
            workflows,
            total,
            limit: *limit,
            offset: *offset,
            next_offset: (next < total).then_some(next),
        }
    }
}

/// A matching workflow.
#[derive(Serialize, ToSchema)]
pub(super) struct FoundWorkflow {
    /// The ratio of matching labels, 0 to 1; a `*` counts half.
    pub(super) score: f64,
    /// The newest matching active version.
    #[serde(flatten)]
    pub(super) workflow: WorkflowJson,
}

/// Matching workflows, best first.
#[derive(Serialize, ToSchema)]
pub(super) struct FoundWorkflows {
    pub(super) workflows: Vec<FoundWorkflow>,
    /// Number of results.
    pub(super) total: usize,
}
