//! The timeline page: the history of one remediation, with the state of its chain. No script and no other file.

use std::sync::LazyLock;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde::Serialize;
use service::http::Failure;
use sha2::{Digest, Sha256};
use tlog::{Checkpoint, Note};
use tokio_postgres::Client;
use wire::problem::Problem;

use super::json::EventJson;
use super::{Service, responses};
use crate::domain::query::{Filter, MAX_EVENTS_OF_A_PAGE, PageRequest, Start};
use crate::store::{chains, events, log};

const PAGE: &str = include_str!("timeline.html");
const STYLE: &str = include_str!("timeline.css");

/// Maximum bytes of the events' data on a page, which has them indented and in HTML.
const MAX_DATA_BYTES_OF_A_PAGE: usize = 1 << 20;

static TEMPLATES: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.add_template("timeline.html", PAGE)?;
    Ok(templates)
});

/// Only this style sheet: no script, image or frame.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// One event on the page.
#[derive(Serialize)]
struct Entry {
    event: serde_json::Value,
    data: String,
    time: String,
    /// Time since the first event.
    since: String,
    problem: Option<String>,
    /// Index of its leaf in the transparency log.
    leaf: Option<u64>,
    /// Whether a signed checkpoint has it.
    is_signed: bool,
}

/// The history of a remediation as a page, oldest first; at most its 1,000 newest events, or those with
/// 1 MiB of data.
#[utoipa::path(get, path = "/timeline/{correlation_id}", tag = "timeline", params(("correlation_id" = String, Path)),
    responses((status = 200, body = String, content_type = "text/html"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No event has that correlation")))]
pub(super) async fn page(
    State(service): State<Service>,
    Path(correlation_id): Path<String>,
) -> Result<Response, Failure> {
    let absent = || Failure::not_found(format!("no event has the correlation_id {correlation_id:?}"));
    if correlation_id.contains('\0') {
        return Err(absent());
    }
    let _room = service.answers.hold(usize::MAX).await?;
    let mut client = service.connection().await?;
    let chain = chains::verify_chain(&mut client, &correlation_id, &service.shared.trust)
        .await
        .map_err(|error| responses::query_failed(&error))?
        .ok_or_else(absent)?;
    let request = PageRequest {
        filter: Filter {
            correlation_id: Some(correlation_id.clone()),
            ..Filter::default()
        },
        limit: MAX_EVENTS_OF_A_PAGE,
        start: Start::Offset(0),
    };
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let found = events::page(&mut client, &request, service.count_limit, |row| {
        bytes += row.try_get::<_, &str>(8)?.len();
        let fits = rows.is_empty() || bytes <= MAX_DATA_BYTES_OF_A_PAGE;
        if fits {
            rows.push(row.clone());
        }
        Ok::<_, tokio_postgres::Error>(fits)
    })
    .await
    .map_err(|error| responses::query_failed(&error))?;
    let sequences: Vec<i64> = rows
        .iter()
        .filter_map(|row| row.try_get("sequence").ok())
        .collect();
    let connection: &Client = &client;
    let log = async {
        let leaves = log::places(connection, &correlation_id, &sequences).await?;
        Ok::<_, tokio_postgres::Error>((leaves, log::checkpoint(connection).await?))
    };
    let (leaves, checkpoint) = log.await.map_err(|error| responses::query_failed(&error))?;
    drop(client);
    let signed: Option<Checkpoint> =
        checkpoint.and_then(|note| Note::from_bytes(note.as_bytes()).ok()?.text().parse().ok());
    let signed = signed.map(|checkpoint| checkpoint.size);
    let events = rows
        .iter()
        .rev()
        .map(|row| EventJson::of(row, service.clock))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::internal(&error))?;
    let first = events.first().map(|event| event.event_timestamp);
    let entries: Vec<Entry> = events
        .iter()
        .map(|event| {
            let problem = chain
                .tampered_events
                .iter()
                .find(|tampered| tampered.event_id == Some(event.event_id))
                .map(|tampered| tampered.detail.clone());
            let leaf = leaves.get(&event.sequence).copied();
            let entry = entry(event, first, problem)?;
            let is_signed = leaf.zip(signed).is_some_and(|(leaf, size)| leaf < size);
            Ok(Entry {
                leaf,
                is_signed,
                ..entry
            })
        })
        .collect::<Result<_, serde_json::Error>>()
        .map_err(|error| Failure::internal(&error))?;
    let html = render(&correlation_id, &chain, &entries, found.total, signed)
        .map_err(|error| Failure::internal(&error))?;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, html).into_response())
}

fn render(
    correlation_id: &str,
    chain: &crate::domain::verification::ChainVerification,
    entries: &[Entry],
    total: i64,
    signed: Option<u64>,
) -> Result<String, String> {
    let templates = TEMPLATES.as_ref().map_err(ToString::to_string)?;
    let template = templates
        .get_template("timeline.html")
        .map_err(|error| error.to_string())?;
    let now = Timestamp::now();
    template
        .render(context! {
            correlation_id,
            total,
            signed,
            in_checkpoint => entries.iter().filter(|entry| entry.is_signed).count(),
            chain => Value::from(Serde(chain)),
            entries => Value::from(Serde(entries)),
            style => STYLE,
            now => format!("{now:.0}"),
        })
        .map_err(|error| error.to_string())
}

fn entry(
    event: &EventJson<'_>,
    first: Option<Timestamp>,
    problem: Option<String>,
) -> Result<Entry, serde_json::Error> {
    let value: serde_json::Value = serde_json::from_str(event.event_data.get())?;
    let time = event.event_timestamp;
    let since = first.map_or(SignedDuration::ZERO, |first| time.duration_since(first));
    Ok(Entry {
        data: serde_json::to_string_pretty(&value)?,
        time: format!("{time:.3}"),
        since: if since.is_zero() {
            String::new()
        } else {
            format!("+{}", short(since))
        },
        event: serde_json::to_value(event)?,
        problem,
        leaf: None,
        is_signed: false,
    })
}

/// A time span in its two largest units.
fn short(span: SignedDuration) -> String {
    let millis = span.as_millis();
    let seconds = millis / 1000;
    match seconds {
        ..60 => format!("{}.{:03} s", seconds, millis % 1000),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chain::Keys;
    use crate::domain::log::ChainLog;
    use crate::domain::time::Micros;
    use crate::domain::verification::{Chain, verify};

    #[test]
    fn spans_are_short() {
        let of = |millis| short(SignedDuration::from_millis(millis));
        assert_eq!(
            [of(5), of(61_000), of(3_660_000), of(90_000_000)],
            ["0.005 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]
        );
    }

    #[test]
    fn event_content_cannot_become_markup() {
        let chain = verify(Chain {
            correlation_id: "<script>",
            links: Vec::new(),
            gaps: Vec::new(),
            head: None,
            holds: std::collections::BTreeSet::new(),
            log: ChainLog::default(),
            keys: &Keys::default(),
            now: Micros(0),
        });
        let entry = Entry {
            event: serde_json::json!({"event_type": "<img>", "event_outcome": "success", "event_category": "gateway"}),
            data: "\"</pre><script>\"".to_owned(),
            time: String::new(),
            since: String::new(),
            problem: None,
            leaf: None,
            is_signed: false,
        };
        let html = render("<script>", &chain, &[entry], 1, None).unwrap();
        assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
        assert!(html.contains("&lt;script&gt;"));
    }
}
