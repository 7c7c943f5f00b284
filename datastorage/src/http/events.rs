//! A list of events.

use std::time::Instant;

use axum::extract::{Query, State};
use axum::response::Response;
use service::http::Failure;
use wire::audit::{EventCategory, EventOutcome, EventPage, Pagination};

use super::json::{EventJson, Unreadable};
use super::{Service, responses};
use crate::domain::event::Micros;
use crate::domain::query::{PageRequest, Start};
use crate::store::events;

/// Lists events, newest first. A page ends before `limit` when its events are large: `has_more` and `next_cursor` say
/// whether and where the list goes on.
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
    let mut answer = service.answers.begin().await?;
    let mut client = service.connection().await?;
    // [`EventPage`], row by row.
    answer.push(b"{\"data\":[");
    let (mut is_first, mut text) = (true, Vec::new());
    let page = events::page(&mut client, &request, service.count_limit, |row| {
        text.clear();
        if !is_first {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, &EventJson::of(row, service.clock)?)?;
        Ok::<_, Unreadable>(if std::mem::take(&mut is_first) {
            answer.push(&text);
            true
        } else {
            answer.try_push(&text)
        })
    })
    .await
    .map_err(|error| responses::unreadable(&error))?;
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
    let pagination = serde_json::to_vec(&pagination).map_err(|error| Failure::internal(&error))?;
    answer.push(b"],\"pagination\":");
    answer.push(&pagination);
    answer.push(b"}");
    Ok(answer.json())
}
