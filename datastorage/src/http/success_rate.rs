//! Success rates of remediations.

use std::time::Instant;

use axum::Json;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::Serialize;
use service::http::Failure;
use utoipa::ToSchema;

use super::{Service, responses};
use crate::domain::event::Micros;
use crate::domain::success_rate::{Dimension, Rate, RateRequest};
use crate::store::success_rates;

/// A success rate, and its parts.
#[derive(Serialize, ToSchema)]
pub(super) struct SuccessRate {
    incident_type: Option<String>,
    workflow_id: Option<String>,
    workflow_version: Option<String>,
    action_type: Option<String>,
    /// The requested window.
    time_range: String,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    /// The requested minimum of outcomes.
    min_samples: i64,
    #[serde(flatten)]
    rate: Rate,
    /// Number of versions of workflows with outcomes.
    total_workflows: i64,
    /// The same by workflow and version, the most frequent first; at most 1,000.
    breakdown_by_workflow: Vec<WorkflowRate>,
}

/// The part of one version of a workflow.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkflowRate {
    workflow_id: Option<String>,
    workflow_version: Option<String>,
    #[serde(flatten)]
    rate: Rate,
}

type Pairs = Query<Vec<(String, String)>>;

/// The success rate of remediations of a type of incident.
#[utoipa::path(get, path = "/api/v1/success-rate/incident-type", tag = "success rates",
    params(("incident_type" = String, Query), ("time_range" = Option<String>, Query, description = "Such as 24h, 7d; 7d if absent"),
        ("min_samples" = Option<i64>, Query, minimum = 1, maximum = 1_000_000)),
    responses((status = 200, body = SuccessRate)))]
pub(super) async fn incident_type(
    State(service): State<Service>,
    Query(pairs): Pairs,
) -> Result<Json<SuccessRate>, Failure> {
    rate(&service, pairs, Dimension::IncidentType).await
}

/// The success rate of a workflow.
#[utoipa::path(get, path = "/api/v1/success-rate/workflow", tag = "success rates",
    params(("workflow_id" = String, Query), ("workflow_version" = Option<String>, Query),
        ("time_range" = Option<String>, Query, description = "Such as 24h, 7d; 7d if absent"),
        ("min_samples" = Option<i64>, Query, minimum = 1, maximum = 1_000_000)),
    responses((status = 200, body = SuccessRate)))]
pub(super) async fn workflow(
    State(service): State<Service>,
    Query(pairs): Pairs,
) -> Result<Json<SuccessRate>, Failure> {
    rate(&service, pairs, Dimension::Workflow).await
}

/// The success rate by several dimensions; at least one is required.
#[utoipa::path(get, path = "/api/v1/success-rate/multi-dimensional", tag = "success rates",
    params(("incident_type" = Option<String>, Query), ("workflow_id" = Option<String>, Query),
        ("workflow_version" = Option<String>, Query), ("action_type" = Option<String>, Query),
        ("time_range" = Option<String>, Query, description = "Such as 24h, 7d; 7d if absent"),
        ("min_samples" = Option<i64>, Query, minimum = 1, maximum = 1_000_000)),
    responses((status = 200, body = SuccessRate)))]
pub(super) async fn multi_dimensional(
    State(service): State<Service>,
    Query(pairs): Pairs,
) -> Result<Json<SuccessRate>, Failure> {
    rate(&service, pairs, Dimension::Several).await
}

async fn rate(
    service: &Service,
    pairs: Vec<(String, String)>,
    dimension: Dimension,
) -> Result<Json<SuccessRate>, Failure> {
    let begin = Instant::now();
    let request =
        RateRequest::read(pairs, dimension, Micros::now()).map_err(|invalid| service.invalid(&invalid))?;
    let client = service.connection().await?;
    let counted = success_rates::count(&client, &request)
        .await
        .map_err(|error| responses::query_failed(&error))?;
    service.queried("success_rate", begin);
    let min_samples = request.min_samples;
    let breakdown_by_workflow = counted
        .groups
        .into_iter()
        .map(|(workflow_id, workflow_version, counts)| WorkflowRate {
            workflow_id,
            workflow_version,
            rate: Rate::of(counts, min_samples),
        })
        .collect();
    let RateRequest {
        incident_type,
        workflow_id,
        workflow_version,
        action_type,
        since,
        until,
        time_range,
        ..
    } = request;
    Ok(Json(SuccessRate {
        incident_type,
        workflow_id,
        workflow_version,
        action_type,
        time_range,
        since: since.to_timestamp(),
        until: until.to_timestamp(),
        min_samples,
        rate: Rate::of(counted.whole, min_samples),
        total_workflows: counted.total_groups,
        breakdown_by_workflow,
    }))
}
