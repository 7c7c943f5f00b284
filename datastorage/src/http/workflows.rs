//! The catalogue of workflows.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use service::http::{Failure, RawBody};
use uuid::Uuid;
use wire::problem::Problem;

use super::answers::Answer;
use super::workflow_json::{FoundWorkflow, FoundWorkflows, WorkflowJson, WorkflowPage};
use super::{Actor, Service, responses};
use crate::domain::parameters::Parameters;
use crate::domain::workflow::{Disabling, NewWorkflow, WorkflowPatch, WorkflowSearch, WorkflowStatus};
use crate::store::workflows::{self, ListRequest, Workflow};

/// Adds a version of a workflow.
#[utoipa::path(post, path = "/api/v1/workflows", tag = "workflows", request_body = NewWorkflow,
    responses((status = 201, body = WorkflowJson),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The workflow has that version already")))]
pub(super) async fn create(
    State(service): State<Service>,
    actor: Actor,
    RawBody(body): RawBody,
) -> Result<(StatusCode, Json<WorkflowJson>), Failure> {
    let new = NewWorkflow::read(&body).map_err(|invalid| service.invalid(&invalid))?;
    let mut client = service.connection().await?;
    let created = workflows::create(&mut client, &new, &actor.name_or(None))
        .await
        .map_err(|error| responses::query_failed(&error))?;
    let NewWorkflow {
        workflow_name,
        version,
        ..
    } = new;
    created
        .map(|workflow| (StatusCode::CREATED, Json(workflow.into())))
        .ok_or_else(|| {
            Failure::conflict(format!(
                "{workflow_name:?} has a version {version:?} already; versions are immutable"
            ))
        })
}

/// Lists versions of workflows, by name and newest first.
#[utoipa::path(get, path = "/api/v1/workflows", tag = "workflows",
    params(("workflow_name" = Option<String>, Query), ("status" = Option<WorkflowStatus>, Query),
        ("latest" = Option<bool>, Query, description = "Only the newest version of each"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000),
        ("offset" = Option<i64>, Query, minimum = 0, maximum = 1_000_000)),
    responses((status = 200, body = WorkflowPage)))]
pub(super) async fn list(
    State(service): State<Service>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let mut parameters = Parameters::new(pairs);
    let workflow_name = parameters.text("workflow_name", 255);
    let request = page_request(&mut parameters, workflow_name);
    parameters.finish().map_err(|invalid| service.invalid(&invalid))?;
    page(&service, request).await
}

/// All versions of a workflow, newest first.
#[utoipa::path(get, path = "/api/v1/workflows/by-name/{workflow_name}/versions", tag = "workflows",
    params(("workflow_name" = String, Path), ("status" = Option<WorkflowStatus>, Query),
        ("latest" = Option<bool>, Query), ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000),
        ("offset" = Option<i64>, Query, minimum = 0, maximum = 1_000_000)),
    responses((status = 200, body = WorkflowPage)))]
pub(super) async fn versions(
    State(service): State<Service>,
    Path(workflow_name): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let mut parameters = Parameters::new(pairs);
    let request = page_request(&mut parameters, Some(workflow_name.replace('\0', "")));
    parameters.finish().map_err(|invalid| service.invalid(&invalid))?;
    page(&service, request).await
}

fn page_request(parameters: &mut Parameters, workflow_name: Option<String>) -> ListRequest {
    ListRequest {
        workflow_name,
        status: parameters.parsed(
            "status",
            WorkflowStatus::from_name,
            "active, deprecated or disabled",
        ),
        latest_only: parameters
            .parsed("latest", |text| text.parse().ok(), "true or false")
            .unwrap_or(false),
        limit: parameters.integer("limit", 1, 1000).unwrap_or(50),
        offset: parameters.integer("offset", 0, 1_000_000).unwrap_or(0),
    }
}

async fn page(service: &Service, request: ListRequest) -> Result<Response, Failure> {
    let max_bytes = service.answers.max_bytes();
    let room = service.answers.hold(max_bytes).await?;
    let client = service.connection().await?;
    // As rows and as JSON.
    let (found, total) = workflows::list(&client, &request, max_bytes / 2)
        .await
        .map_err(|error| responses::query_failed(&error))?;
    drop(client);
    Answer::of(&WorkflowPage::of(found, &request, total), room)
}

/// One version.
#[utoipa::path(get, path = "/api/v1/workflows/{workflow_id}", tag = "workflows",
    params(("workflow_id" = Uuid, Path)),
    responses((status = 200, body = WorkflowJson),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such version")))]
pub(super) async fn get(
    State(service): State<Service>,
    Path(id): Path<String>,
) -> Result<Json<WorkflowJson>, Failure> {
    let workflow_id = parse_id(&id)?;
    let client = service.connection().await?;
    found(&id, workflows::get(&client, workflow_id).await)
}

/// Finds active workflows by labels, best match first.
#[utoipa::path(post, path = "/api/v1/workflows/search", tag = "workflows", request_body = WorkflowSearch,
    responses((status = 200, body = FoundWorkflows)))]
pub(super) async fn search(
    State(service): State<Service>,
    RawBody(body): RawBody,
) -> Result<Response, Failure> {
    let search = WorkflowSearch::read(&body).map_err(|invalid| service.invalid(&invalid))?;
    let max_bytes = service.answers.max_bytes();
    let room = service.answers.hold(max_bytes).await?;
    let client = service.connection().await?;
    let found = workflows::search(&client, &search, max_bytes / 2)
        .await
        .map_err(|error| responses::query_failed(&error))?;
    let workflows: Vec<FoundWorkflow> = found
        .into_iter()
        .map(|(workflow, score)| FoundWorkflow {
            score,
            workflow: workflow.into(),
        })
        .collect();
    let found = FoundWorkflows {
        total: workflows.len(),
        workflows,
    };
    Answer::of(&found, room)
}

/// Changes the description or status of a version.
#[utoipa::path(patch, path = "/api/v1/workflows/{workflow_id}", tag = "workflows",
    params(("workflow_id" = Uuid, Path)), request_body = WorkflowPatch,
    responses((status = 200, body = WorkflowJson),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such version")))]
pub(super) async fn patch(
    State(service): State<Service>,
    actor: Actor,
    Path(id): Path<String>,
    RawBody(body): RawBody,
) -> Result<Json<WorkflowJson>, Failure> {
    let workflow_id = parse_id(&id)?;
    let patch = WorkflowPatch::read(&body).map_err(|invalid| service.invalid(&invalid))?;
    let client = service.connection().await?;
    found(
        &id,
        workflows::patch(&client, workflow_id, &patch, &actor.name_or(None)).await,
    )
}

/// Disables a version.
#[utoipa::path(patch, path = "/api/v1/workflows/{workflow_id}/disable", tag = "workflows",
    params(("workflow_id" = Uuid, Path)), request_body = Disabling,
    responses((status = 200, body = WorkflowJson),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such version")))]
pub(super) async fn disable(
    State(service): State<Service>,
    actor: Actor,
    Path(id): Path<String>,
    RawBody(body): RawBody,
) -> Result<Json<WorkflowJson>, Failure> {
    let workflow_id = parse_id(&id)?;
    let disabling = Disabling::read(&body).map_err(|invalid| service.invalid(&invalid))?;
    let client = service.connection().await?;
    found(
        &id,
        workflows::disable(&client, workflow_id, &disabling.reason, &actor.name_or(None)).await,
    )
}

fn parse_id(id: &str) -> Result<Uuid, Failure> {
    Uuid::parse_str(id).map_err(|_| Failure::not_found(format!("{id:?} is not a workflow's UUID")))
}

fn found(
    id: &str,
    result: Result<Option<Workflow>, tokio_postgres::Error>,
) -> Result<Json<WorkflowJson>, Failure> {
    let workflow = result.map_err(|error| responses::query_failed(&error))?;
    workflow
        .map(|workflow| Json(workflow.into()))
        .ok_or_else(|| Failure::not_found(format!("no workflow {id}")))
}
