//! Erasure of event data, for the rights of persons.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use service::http::Failure;
use uuid::Uuid;
use wire::problem::Problem;

use super::{Actor, Service, legal_hold};
use crate::domain::parameters::Parameters;
use crate::store::erasure::{self, Erased};

/// Erases the data of an event for good. Everything else of it stays, and its chain verifies: it covers a salted hash of
/// the data, and the salt is erased, too. The transparency log keeps who erased it and why.
#[utoipa::path(delete, path = "/api/v1/audit/events/{event_id}/data", tag = "integrity",
    params(("event_id" = Uuid, Path),
        ("reason" = String, Query, description = "Why; not the data itself"),
        ("erased_by" = Option<String>, Query, description = "Who erases it; with authentication it is the client")),
    responses((status = 204, description = "Erased, now or before"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such event"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Held, or stored in a format without salts")))]
pub(super) async fn erase(
    State(service): State<Service>,
    actor: Actor,
    Path(id): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<StatusCode, Failure> {
    let event_id =
        Uuid::parse_str(&id).map_err(|_| Failure::not_found(format!("{id:?} is not an event's UUID")))?;
    let mut parameters = Parameters::new(pairs);
    let reason = parameters.required_text("reason", 1000);
    let said = parameters.text("erased_by", 255);
    parameters.finish().map_err(|invalid| service.invalid(&invalid))?;
    let by = actor.name_or(said);
    let mut client = service.connection().await?;
    let key = service.shared.log_key.as_deref();
    let erased = erasure::erase(&mut client, event_id, &reason, &by, key)
        .await
        .map_err(|error| legal_hold::not_entered(&error))?;
    match erased {
        Erased::Now => {
            tracing::info!(%event_id, by, "event data erased");
            Ok(StatusCode::NO_CONTENT)
        }
        Erased::Before => Ok(StatusCode::NO_CONTENT),
        Erased::NoEvent => Err(Failure::not_found(format!("no event {event_id}"))),
        Erased::Held => Err(Failure::conflict(format!(
            "event {event_id} is under legal hold; release the hold first"
        ))),
        Erased::Unsalted => Err(Failure::conflict(format!(
            "event {event_id} was stored in hash format 1, whose hash covers the data itself"
        ))),
    }
}
