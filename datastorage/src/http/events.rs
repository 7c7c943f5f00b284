//! A list of events.

use std::time::Instant;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use service::http::Failure;
use wire::audit::{EventCategory, EventOutcome, EventPage, Pagination};

use super::json::EventJson;
use super::{Service, responses};
use crate::domain::event::Micros;
use crate::domain::query::{PageRequest, Start};
use crate::store::events;

/// [`wire::audit::EventPage`], borrowed.
#[derive(Serialize)]
pub(super) struct PageJson<'a> {
    data: Vec<EventJson<'a>>,
    pagination: Pagination,
}

/// Lists events, newest first.
#[utoipa::path(get, path = "/api/v1/audit/events", tag = "events",
    params(("correlation_id" = Option<String>, Query), ("event_type" = Option<String>, Query),
        ("event_category" = Option<EventCategory>, Query), ("event_outcome" = Option<EventOutcome>, Query),
        ("severity" = Option<String>, Query),
        ("since" = Option<String>, Query, description = "A time (RFC 3339), a date, or a span before now: 24h, 90m, 7d"),
        ("until" = Option<String>, Query, description = "Like since; inclusive"),
        ("detail_key" = Option<String>, Query, description = "A key of event_data; dots lead into objects"),
        ("detail_value" = Option<String>, Query, description = "The value of that key"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000),
        ("offset" = Option<i64>, Query, minimum = 0, maximum = 1_000_000),
        ("cursor" = Option<String>, Query, description = "next_cursor of the previous page; excludes offset")),
    responses((status = 200, body = EventPage)))]
pub(super) async fn list(
    State(service): State<Service>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let begin = Instant::now();
    let request = PageRequest::read(pairs, Micros::now()).map_err(|invalid| service.invalid(&invalid))?;
    let client = service
        .shared
        .database
        .pool()
        .get()
        .await
        .map_err(|error| responses::no_connection(&error))?;
    let page = events::page(&client, &request, service.count_limit)
        .await
        .map_err(|error| responses::query_failed(&error))?;
    drop(client);
    service.queried("events", begin);
    let pagination = Pagination {
        limit: request.limit,
        offset: match request.start {
            Start::Offset(offset) => offset,
            Start::After(_) => 0,
        },
        total: page.total,
        total_is_exact: page.total_is_exact,
        has_more: page.next.is_some(),
        next_cursor: page.next.map(crate::domain::query::Cursor::encode),
    };
    let data = page
        .rows
        .iter()
        .map(EventJson::of)
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::internal(&error))?;
    Ok(Json(PageJson { data, pagination }).into_response())
}
