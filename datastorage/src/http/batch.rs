//! Batches: events stored together or not at all.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::value::RawValue;
use service::auth::Client;
use service::http::{Failure, RawBody};
use uuid::Uuid;
use wire::audit::{AuditEvent, BatchAccepted};
use wire::problem::Problem;

use super::{Actor, Service, responses};
use crate::domain::event::{Event, Micros, Sealed};
use crate::domain::fields::{Invalid, Reason};
use crate::domain::members::{Elements, kind_of};

const MAX_EVENTS: usize = 1000;
/// Maximum number of reported errors: a response must not be larger than its request.
const MAX_ERRORS: usize = 100;

/// Stores 1 to 1,000 events, all or none.
#[utoipa::path(post, path = "/api/v1/audit/events/batch", tag = "events", request_body = Vec<AuditEvent>,
    responses((status = 201, body = BatchAccepted, description = "All stored"),
        (status = 202, body = BatchAccepted, description = "All in the stream until the database is available"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another event has the event_id of one of them")))]
pub(super) async fn create(
    State(service): State<Service>,
    actor: Actor,
    RawBody(body): RawBody,
) -> Result<(StatusCode, Json<BatchAccepted>), Failure> {
    let begin = Instant::now();
    let now = Micros::now();
    let events = read(&service, &body, now, actor.0.as_ref())?;
    let event_ids: Vec<Uuid> = events.iter().map(|sealed| sealed.event.event_id).collect();
    let times: Vec<Micros> = events.iter().map(|sealed| sealed.event.event_timestamp).collect();
    let outcome = service.writer.write(events, body).await;
    let status = responses::written(outcome, |index, field| format!("[{index}].{field}"))?;
    for time in times {
        service.arrived(time, now);
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

/// All events of the body, or the errors of all events.
fn read(
    service: &Service,
    body: &[u8],
    now: Micros,
    client: Option<&Client>,
) -> Result<Vec<Sealed>, Failure> {
    let reject = |reason, message: String| service.invalid(&[Invalid::new("body", reason, message)]);
    let value: &RawValue = serde_json::from_slice(body)
        .map_err(|error| reject(Reason::Format, format!("is not JSON: {error}")))?;
    if !value.get().starts_with('[') {
        let message = format!("is {}; expected an array of events", kind_of(value));
        return Err(reject(Reason::Type, message));
    }
    let Elements { elements, count } = serde_json::from_str::<Elements<'_, MAX_EVENTS>>(value.get())
        .map_err(|error| reject(Reason::Format, format!("is not JSON: {error}")))?;
    if count == 0 || count > MAX_EVENTS {
        let message = format!("has {count} events; expected 1 to {MAX_EVENTS}");
        return Err(reject(Reason::Length, message));
    }
    let mut events = Vec::with_capacity(count);
    let mut wrong: Vec<(usize, Vec<Invalid>)> = Vec::new();
    let mut errors = 0;
    for (index, element) in elements.into_iter().enumerate() {
        match Event::read(element.get().as_bytes(), now, client) {
            Ok(event) => events.push(Sealed::new(event)),
            Err(invalid) => {
                errors += invalid.len();
                if errors <= MAX_ERRORS {
                    wrong.push((index, invalid));
                }
            }
        }
    }
    if errors == 0 {
        Ok(events)
    } else {
        Err(all_wrong(service, &wrong, errors))
    }
}

/// `errors` is the number of all errors; `wrong` has the first ones.
fn all_wrong(service: &Service, wrong: &[(usize, Vec<Invalid>)], errors: usize) -> Failure {
    let mut messages = Vec::new();
    let mut reported = Vec::new();
    for (index, invalid) in wrong {
        service.shared.metrics.invalid(invalid);
        let fields: Vec<String> = invalid
            .iter()
            .map(|invalid| format!("{} {}", invalid.field, invalid.message))
            .collect();
        messages.push(format!("event at index {index}: {}", fields.join("; ")));
        reported.extend(invalid.iter().map(|invalid| {
            let mut error = invalid.to_wire();
            error.field = format!("[{index}].{}", error.field);
            error
        }));
    }
    if errors > reported.len() {
        messages.push(format!("and {} more errors", errors - reported.len()));
    }
    Failure::invalid(messages.join("\n"), reported)
}
