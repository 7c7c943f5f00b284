//! The two routes that receive signals.

use std::iter;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use service::http::{Failure, RawBody};
use uuid::Uuid;
use wire::problem::FieldError;
use wire::remediation_request::SignalType;
use wire::webhook::{Event, Webhook};

use super::App;
use super::entry::{Entry, Left, MAX_DETAILED};
use super::response;
use crate::domain::alertmanager::{self, Read, Verdict};
use crate::domain::{event, freshness};
use crate::gateway::Taken;
use service::http::InFlight;

/// Alerts of one webhook that are processed concurrently, so that a large group leaves room for others.
const ALERTS_AT_ONCE: usize = 16;

/// `POST /api/v1/signals/prometheus`: the alerts of a webhook.
///
/// # Errors
/// See `docs/gateway.md`.
#[utoipa::path(post, path = "/api/v1/signals/prometheus", tag = "signals", request_body = Webhook,
    params(("X-Timestamp" = Option<i64>, Header, description = "When it was sent, Unix seconds: at most 5 minutes ago, 2 minutes ahead")),
    responses(
        (status = 201, body = response::Single, description = "A RemediationRequest was created"),
        (status = 202, body = response::Single, description = "Counted on an active one, or resolved or ignored"),
        (status = 207, body = response::Multi, description = "Several alerts, each with its own result; or one whose RemediationRequest is rejected permanently"),
    ))]
pub async fn prometheus(
    State(app): State<App>,
    Extension(in_flight): Extension<InFlight>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Failure> {
    let now = Timestamp::now();
    let rejected = |error| {
        app.gateway.metrics().rejected(SignalType::PrometheusAlert);
        response::invalid(vec![error])
    };
    let sent_at = sent_at(&headers).map_err(rejected)?;
    freshness::check_header(sent_at, now).map_err(rejected)?;
    let reading = alertmanager::read(body, sent_at.is_some(), now).map_err(rejected)?;
    let reading = Arc::new(reading);
    let work = |known| {
        let (app, reading) = (app.clone(), Arc::clone(&reading));
        async move {
            let _in_flight = in_flight;
            take_all(&app, &reading, known).await
        }
    };
    let entries = app.deliveries.deliver(reading.body(), work).await?;
    if let Some(failure) = response::unavailable(&entries) {
        app.deliveries.keep(reading.body(), entries);
        return Err(failure);
    }
    response::webhook(entries)
}

/// The results of all alerts, in their order; `known` has those of an earlier delivery.
async fn take_all<B: AsRef<[u8]>>(
    app: &App,
    reading: &alertmanager::Reading<B>,
    known: Vec<Entry>,
) -> Vec<Entry> {
    let known = known.into_iter().map(Some).chain(iter::repeat_with(|| None));
    let take = |(position, known): (usize, Option<Entry>)| async move {
        let id = known.as_ref().and_then(Entry::id);
        if let Some(entry) = known.filter(Entry::is_settled) {
            return Ok(entry);
        }
        let _room = app.room.acquire(reading.size(position)).await;
        let Read { signal, verdict, .. } = reading.judge(&app.rules, position)?;
        let left = match verdict {
            Verdict::Firing => {
                return Ok(Entry::taken(
                    app.gateway.take(signal, id).await,
                    reading.count() == 1,
                ));
            }
            Verdict::Resolved => {
                if let Err(error) = app.gateway.resolve(&signal).await {
                    let fingerprint = signal.fingerprint();
                    let result = Err(error);
                    let id = Uuid::nil();
                    return Ok(Entry::taken(
                        Taken {
                            id,
                            fingerprint,
                            result,
                        },
                        false,
                    ));
                }
                Left::Resolved
            }
            Verdict::Ignored => {
                app.gateway.metrics().ignored();
                Left::Ignored
            }
        };
        Ok(Entry::Left(left, Box::new(signal.fingerprint())))
    };
    let mut entries = Entries::with_capacity(reading.count());
    let mut results = stream::iter((0..reading.count()).zip(known))
        .map(take)
        .buffered(ALERTS_AT_ONCE);
    while let Some(result) = results.next().await {
        if result.is_err() {
            app.gateway.metrics().rejected(SignalType::PrometheusAlert);
        }
        entries.push(result);
    }
    entries.entries
}

/// The results so far.
struct Entries {
    entries: Vec<Entry>,
    rejected: usize,
}

impl Entries {
    fn with_capacity(count: usize) -> Self {
        Self {
            entries: Vec::with_capacity(count),
            rejected: 0,
        }
    }

    fn push(&mut self, result: Result<Entry, Vec<FieldError>>) {
        self.entries.push(result.unwrap_or_else(|errors| {
            self.rejected += 1;
            Entry::Rejected((self.rejected <= MAX_DETAILED).then(|| Box::new(errors)))
        }));
    }
}

/// `POST /api/v1/signals/kubernetes-event`: one event.
///
/// # Errors
/// See `docs/gateway.md`.
#[utoipa::path(post, path = "/api/v1/signals/kubernetes-event", tag = "signals", request_body = Event,
    params(("X-Timestamp" = Option<i64>, Header, description = "When it was sent, Unix seconds: at most 5 minutes ago, 2 minutes ahead")),
    responses(
        (status = 201, body = response::Single, description = "A RemediationRequest was created"),
        (status = 202, body = response::Single, description = "Counted on an active one"),
        (status = 207, body = response::Multi, description = "The Kubernetes API rejects its RemediationRequest permanently"),
    ))]
pub async fn kubernetes_event(
    State(app): State<App>,
    Extension(in_flight): Extension<InFlight>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Failure> {
    let now = Timestamp::now();
    let rejected = |errors| {
        app.gateway.metrics().rejected(SignalType::KubernetesEvent);
        response::invalid(errors)
    };
    let reading = event::read(&body, now).map_err(rejected)?;
    sent_at(&headers)
        .and_then(|sent_at| freshness::check_event(sent_at, reading.last_seen, now))
        .map_err(|error| rejected(vec![error]))?;
    let work = |known: Vec<Entry>| {
        let (app, size) = (app.clone(), body.len());
        let id = known.first().and_then(Entry::id);
        async move {
            let _in_flight = in_flight;
            let _room = app.room.acquire(size).await;
            vec![Entry::taken(app.gateway.take(reading.signal, id).await, true)]
        }
    };
    let entries = app.deliveries.deliver(&body, work).await?;
    if let Some(failure) = response::unavailable(&entries) {
        app.deliveries.keep(&body, entries);
        return Err(failure);
    }
    response::webhook(entries)
}

fn sent_at(headers: &HeaderMap) -> Result<Option<&str>, FieldError> {
    headers
        .get(freshness::HEADER)
        .map(|value| value.to_str())
        .transpose()
        .map_err(|_| FieldError {
            field: freshness::HEADER.to_owned(),
            message: "is not text; expected Unix seconds".to_owned(),
        })
}

#[cfg(test)]
mod amplification;
