//! Writes and reads one event.

use std::time::Instant;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use service::http::{Failure, RawBody};
use uuid::Uuid;
use wire::audit::{AuditEvent, EventAccepted, StoredEvent};
use wire::problem::Problem;

use super::json::EventJson;
use super::{Actor, Service, responses};
use crate::domain::event::{Event, Micros, Sealed};
use crate::store::events;

/// Stores an event. A repeated event gets the same response; another event with its id is a conflict.
#[utoipa::path(post, path = "/api/v1/audit/events", tag = "events", request_body = AuditEvent,
    responses((status = 201, body = EventAccepted, description = "Stored"),
        (status = 202, body = EventAccepted, description = "In the stream until the database is available"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another event has that event_id")))]
pub(super) async fn create(
    State(service): State<Service>,
    actor: Actor,
    RawBody(body): RawBody,
) -> Result<(StatusCode, Json<EventAccepted>), Failure> {
    let begin = Instant::now();
    let now = Micros::now();
    let event = Event::read(&body, now, actor.0.as_ref()).map_err(|invalid| service.invalid(&invalid))?;
    let (event_id, event_timestamp) = (event.event_id, event.event_timestamp);
    let outcome = service.writer.write(vec![Sealed::new(event)], body).await;
    let status = responses::written(outcome, |_, field| field.to_owned())?;
    service.arrived(event_timestamp, now);
    service.shared.metrics.write("audit_events", begin.elapsed());
    let message = if status == StatusCode::CREATED {
        "audit event stored"
    } else {
        "audit event accepted; it is stored when the database is available again"
    };
    let accepted = EventAccepted {
        event_id,
        event_timestamp: event_timestamp.to_timestamp(),
        message: message.to_owned(),
    };
    Ok((status, Json(accepted)))
}

/// One event.
#[utoipa::path(get, path = "/api/v1/audit/events/{event_id}", tag = "events", params(("event_id" = Uuid, Path)),
    responses((status = 200, body = StoredEvent),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such event")))]
pub(super) async fn get(State(service): State<Service>, Path(id): Path<String>) -> Result<Response, Failure> {
    let begin = Instant::now();
    let event_id =
        Uuid::parse_str(&id).map_err(|_| Failure::not_found(format!("{id:?} is not an event's UUID")))?;
    let mut answer = service.answers.begin().await?;
    let client = service.connection().await?;
    let found = events::get(&client, event_id)
        .await
        .map_err(|error| responses::query_failed(&error))?;
    service.queried("event", begin);
    let row = found.ok_or_else(|| Failure::not_found(format!("no event {event_id}")))?;
    let event = EventJson::of(&row, service.clock).map_err(|error| Failure::internal(&error))?;
    answer.push(&serde_json::to_vec(&event).map_err(|error| Failure::internal(&error))?);
    Ok(answer.json())
}
