//! Workflows as JSON.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::event::Micros;
use crate::domain::workflow::{Labels, WorkflowStatus};
use crate::store::workflows::{ListRequest, Workflow};

/// A version of a workflow to add.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "only its schema is used: the body is read field by field, to tell every mistake at once"
)]
pub(super) struct NewWorkflowRequest {
    /// What all versions share.
    #[schema(min_length = 1, max_length = 255)]
    workflow_name: String,
    /// Unique in the workflow.
    #[schema(min_length = 1, max_length = 50)]
    version: String,
    /// A title for people.
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    /// What it does and when it is for.
    #[schema(min_length = 1, max_length = 10_000)]
    description: String,
    /// The workflow itself, in whatever language; at most 1 MiB.
    #[schema(min_length = 1, max_length = 1_048_576)]
    content: String,
    /// What it is for: at most 50 labels; the value `*` fits every value that is searched.
    labels: Labels,
}

/// What may change of a version.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "only its schema is used: the body is read field by field, to tell every mistake at once"
)]
pub(super) struct PatchRequest {
    /// A title for people.
    #[schema(max_length = 255)]
    name: Option<String>,
    /// What it does.
    #[schema(max_length = 10_000)]
    description: Option<String>,
    /// Whether it is offered.
    status: Option<WorkflowStatus>,
}

/// Why a version must not be run.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "only its schema is used: the body is read field by field, to tell every mistake at once"
)]
pub(super) struct DisableRequest {
    /// For those who look for it.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// Which workflows are looked for.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "only its schema is used: the body is read field by field, to tell every mistake at once"
)]
pub(super) struct SearchRequest {
    /// What the problem is like: one label or more.
    labels: Labels,
    /// How many at most.
    #[schema(minimum = 1, maximum = 100, default = 10)]
    limit: Option<i32>,
}

/// A version of a workflow.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkflowJson {
    workflow_id: Uuid,
    workflow_name: String,
    version: String,
    /// The order of versions, from 1.
    revision: i32,
    /// Whether no newer version was added.
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
    /// How many there are in all.
    total: i64,
    /// How many the page holds at most.
    limit: i64,
    /// How many were left out before it.
    offset: i64,
}

impl WorkflowPage {
    pub(super) fn of(found: Vec<Workflow>, request: &ListRequest, total: i64) -> Self {
        let ListRequest { limit, offset, .. } = request;
        let workflows = found.into_iter().map(WorkflowJson::from).collect();
        Self {
            workflows,
            total,
            limit: *limit,
            offset: *offset,
        }
    }
}

/// A workflow that fits.
#[derive(Serialize, ToSchema)]
pub(super) struct FoundWorkflow {
    /// The share of the labels that fit, 0 to 1; a `*` counts half.
    pub(super) score: f64,
    /// The newest active version that fits.
    #[serde(flatten)]
    pub(super) workflow: WorkflowJson,
}

/// Workflows that fit, best first.
#[derive(Serialize, ToSchema)]
pub(super) struct FoundWorkflows {
    pub(super) workflows: Vec<FoundWorkflow>,
    /// How many are listed.
    pub(super) total: usize,
}
