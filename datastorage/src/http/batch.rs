//! Batches: events stored together or not at all.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use service::auth::Client;
use service::http::{Failure, JsonBody};
use uuid::Uuid;
use wire::audit::{AuditEvent, BatchAccepted};
use wire::problem::Problem;

use super::{Actor, Service, responses};
use crate::domain::event::{Event, Micros, Sealed};
use crate::domain::fields::{Invalid, Reason};

const MAX_EVENTS: usize = 1000;

/// Stores 1 to 1,000 events, all or none.
#[utoipa::path(post, path = "/api/v1/audit/events/batch", tag = "events", request_body = Vec<AuditEvent>,
    responses((status = 201, body = BatchAccepted, description = "All stored"),
        (status = 202, body = BatchAccepted, description = "All in the stream until the database is available"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another event has the event_id of one of them")))]
pub(super) async fn create(
    State(service): State<Service>,
    actor: Actor,
    JsonBody(body): JsonBody<Value>,
) -> Result<(StatusCode, Json<BatchAccepted>), Failure> {
    let begin = Instant::now();
    let now = Micros::now();
    let events = read(&service, body, now, actor.0.as_ref())?;
    let event_ids: Vec<Uuid> = events.iter().map(|sealed| sealed.event.event_id).collect();
    let times: Vec<Micros> = events.iter().map(|sealed| sealed.event.event_timestamp).collect();
    let outcome = service.writer.write(events).await;
    let status = responses::written(outcome, |index, field| format!("[{index}].{field}"))?;
    for time in times {
        service.shared.metrics.lag(now.0 - time.0);
    }
    service.shared.metrics.write("audit_events", begin.elapsed());
    let message = if status == StatusCode::CREATED {
        format!("{} audit events stored", event_ids.len())
    } else {
        format!(
            "{} audit events accepted; they are stored when the database is available again",
            event_ids.len()
        )
    };
    Ok((status, Json(BatchAccepted { event_ids, message })))
}

/// All events of the body, or all errors of all events.
fn read(
    service: &Service,
    body: Value,
    now: Micros,
    client: Option<&Client>,
) -> Result<Vec<Sealed>, Failure> {
    let reject = |reason, message: String| service.invalid(&[Invalid::new("body", reason, message)]);
    let Value::Array(values) = body else {
        return Err(reject(
            Reason::Type,
            "is not an array; expected an array of events".to_owned(),
        ));
    };
    if values.is_empty() || values.len() > MAX_EVENTS {
        let message = format!("has {} events; expected 1 to {MAX_EVENTS}", values.len());
        return Err(reject(Reason::Length, message));
    }
    let mut events = Vec::with_capacity(values.len());
    let mut wrong: Vec<(usize, Vec<Invalid>)> = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        match Event::read(value, now, client) {
            Ok(event) => events.push(Sealed::new(event)),
            Err(invalid) => wrong.push((index, invalid)),
        }
    }
    if wrong.is_empty() {
        Ok(events)
    } else {
        Err(all_wrong(service, &wrong))
    }
}

fn all_wrong(service: &Service, wrong: &[(usize, Vec<Invalid>)]) -> Failure {
    let mut messages = Vec::new();
    let mut errors = Vec::new();
    for (index, invalid) in wrong {
        service.shared.metrics.invalid(invalid);
        let fields: Vec<String> = invalid
            .iter()
            .map(|invalid| format!("{} {}", invalid.field, invalid.message))
            .collect();
        messages.push(format!("event at index {index}: {}", fields.join("; ")));
        errors.extend(invalid.iter().map(|invalid| {
            let mut error = invalid.to_wire();
            error.field = format!("[{index}].{}", error.field);
            error
        }));
    }
    Failure::invalid(messages.join("\n"), errors)
}
