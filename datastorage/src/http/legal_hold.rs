//! Legal holds: held events cannot be deleted, by retention or by SQL.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use service::http::{Failure, RawBody};
use utoipa::ToSchema;
use uuid::Uuid;
use wire::problem::Problem;

use super::{Actor, Service, responses};
use crate::domain::event::Micros;
use crate::domain::fields::{Fields, Invalid};
use crate::domain::parameters::Parameters;
use crate::store::holds::{self, Hold, Placed};
use crate::store::log::EnterError;

/// A hold to place.
#[derive(ToSchema)]
pub(super) struct LegalHoldRequest {
    /// The correlation, including its future events.
    #[schema(min_length = 1, max_length = 255)]
    correlation_id: String,
    /// The reason.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
    /// Requester; with authentication it is the client, whatever is sent.
    #[schema(max_length = 255)]
    placed_by: Option<String>,
}

impl LegalHoldRequest {
    fn read(text: &[u8]) -> Result<Self, Vec<Invalid>> {
        let mut fields = Fields::parse(text)?;
        let request = Self {
            correlation_id: fields.required_text("correlation_id", 255),
            reason: fields.required_text("reason", 1000),
            placed_by: fields.optional_text("placed_by", 255),
        };
        fields.finish()?;
        Ok(request)
    }
}

/// A hold.
#[derive(Serialize, ToSchema)]
pub(super) struct LegalHold {
    /// Its id.
    hold_id: Uuid,
    /// The held correlation.
    correlation_id: String,
    /// The reason.
    reason: String,
    /// Requester.
    placed_by: String,
    /// Time of placing.
    #[schema(value_type = String, format = DateTime)]
    placed_at: Timestamp,
    /// Who released it.
    released_by: Option<String>,
    /// Time of release.
    #[schema(value_type = Option<String>, format = DateTime)]
    released_at: Option<Timestamp>,
    /// Whether an event of the correlation is stored; false also for a misspelt correlation.
    has_events: bool,
}

/// Holds, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct LegalHolds {
    /// At most 1,000.
    holds: Vec<LegalHold>,
    /// Number of holds.
    total: usize,
}

impl From<Hold> for LegalHold {
    fn from(hold: Hold) -> Self {
        let Hold {
            hold_id,
            correlation_id,
            reason,
            placed_by,
            placed_at,
            released_by,
            released_at,
            has_events,
        } = hold;
        Self {
            hold_id,
            correlation_id,
            reason,
            placed_by,
            placed_at: placed_at.to_timestamp(),
            released_by,
            released_at: released_at.map(Micros::to_timestamp),
            has_events,
        }
    }
}

/// Holds the events of a correlation, including those that are not stored yet.
#[utoipa::path(post, path = "/api/v1/audit/legal-hold", tag = "integrity", request_body = LegalHoldRequest,
    responses((status = 201, body = LegalHold),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Already held")))]
pub(super) async fn place(
    State(service): State<Service>,
    actor: Actor,
    RawBody(body): RawBody,
) -> Result<(StatusCode, Json<LegalHold>), Failure> {
    let LegalHoldRequest {
        correlation_id,
        reason,
        placed_by,
    } = LegalHoldRequest::read(&body).map_err(|invalid| service.invalid(&invalid))?;
    let mut client = service.connection().await?;
    let by = actor.name_or(placed_by);
    let key = service.shared.log_key.as_deref();
    let placed = holds::place(&mut client, &correlation_id, &reason, &by, key)
        .await
        .map_err(|error| not_entered(&error))?;
    match placed {
        Placed::New(hold) => {
            tracing::info!(correlation_id, placed_by = hold.placed_by, "legal hold placed");
            Ok((StatusCode::CREATED, Json(hold.into())))
        }
        Placed::AlreadyHeld => Err(Failure::conflict(format!("{correlation_id:?} is already held"))),
    }
}

/// Lists holds.
#[utoipa::path(get, path = "/api/v1/audit/legal-hold", tag = "integrity",
    params(("correlation_id" = Option<String>, Query, description = "Only holds on it"),
        ("released" = Option<bool>, Query, description = "Include released holds")),
    responses((status = 200, body = LegalHolds)))]
pub(super) async fn list(
    State(service): State<Service>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<LegalHolds>, Failure> {
    let mut parameters = Parameters::new(pairs);
    let correlation_id = parameters.text("correlation_id", 255);
    let released = parameters
        .parsed("released", |text| text.parse().ok(), "true or false")
        .unwrap_or(false);
    parameters.finish().map_err(|invalid| service.invalid(&invalid))?;
    let client = service.connection().await?;
    let found = holds::list(&client, correlation_id.as_deref(), released)
        .await
        .map_err(|error| responses::query_failed(&error))?;
    let holds: Vec<LegalHold> = found.into_iter().map(LegalHold::from).collect();
    Ok(Json(LegalHolds {
        total: holds.len(),
        holds,
    }))
}

/// Releases the hold on a correlation.
#[utoipa::path(delete, path = "/api/v1/audit/legal-hold", tag = "integrity",
    params(("correlation_id" = String, Query, description = "The held correlation"),
        ("released_by" = Option<String>, Query, description = "Who releases it; with authentication it is the client")),
    responses((status = 200, body = LegalHold),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "Not held")))]
pub(super) async fn release(
    State(service): State<Service>,
    actor: Actor,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<LegalHold>, Failure> {
    let mut parameters = Parameters::new(pairs);
    let correlation_id = parameters.required_text("correlation_id", 255);
    let said = parameters.text("released_by", 255);
    parameters.finish().map_err(|invalid| service.invalid(&invalid))?;
    end(&service, &correlation_id, &actor.name_or(said)).await
}

/// Releases the hold on the correlation in the path.
#[utoipa::path(delete, path = "/api/v1/audit/legal-hold/{correlation_id}", tag = "integrity",
    params(("correlation_id" = String, Path, description = "The held correlation")),
    responses((status = 200, body = LegalHold),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "Not held")))]
pub(super) async fn release_named(
    State(service): State<Service>,
    actor: Actor,
    Path(correlation_id): Path<String>,
) -> Result<Json<LegalHold>, Failure> {
    end(&service, &correlation_id, &actor.name_or(None)).await
}

async fn end(service: &Service, correlation_id: &str, by: &str) -> Result<Json<LegalHold>, Failure> {
    if correlation_id.contains('\0') {
        return Err(Failure::not_found("a correlation_id cannot contain U+0000"));
    }
    let mut client = service.connection().await?;
    let released = holds::release(&mut client, correlation_id, by, service.shared.log_key.as_deref())
        .await
        .map_err(|error| not_entered(&error))?;
    let hold = released.ok_or_else(|| Failure::not_found(format!("{correlation_id:?} is not held")))?;
    tracing::info!(correlation_id, released_by = by, "legal hold released");
    Ok(Json(hold.into()))
}

pub(super) fn not_entered(error: &EnterError) -> Failure {
    match error {
        EnterError::Postgresql(error) => responses::query_failed(error),
        EnterError::Sign(error) => Failure::internal(error),
    }
}
