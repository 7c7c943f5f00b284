//! The two routes that receive signals.

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use service::http::{Failure, RawBody};
use tracing::Instrument;
use wire::problem::FieldError;
use wire::remediation_request::SignalType;
use wire::webhook::{Event, Webhook};

use super::App;
use super::response::{self, Entry};
use crate::domain::{alertmanager, event, freshness};
use service::http::InFlight;

/// Alerts of one webhook that are processed concurrently.
const ALERTS_AT_ONCE: usize = 64;

/// `POST /api/v1/signals/prometheus`: the alerts of a webhook.
///
/// # Errors
/// See `docs/gateway.md`.
#[utoipa::path(post, path = "/api/v1/signals/prometheus", tag = "signals", request_body = Webhook,
    params(("X-Timestamp" = Option<i64>, Header, description = "When it was sent, Unix seconds: at most 5 minutes ago, 2 minutes ahead")),
    responses(
        (status = 201, body = response::Single, description = "A RemediationRequest was created"),
        (status = 202, body = response::Single, description = "Counted on an active one, or resolved"),
        (status = 207, body = response::Multi, description = "Several alerts, each with its own result"),
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
    let reading = alertmanager::read(&body, now).map_err(rejected)?;
    let sent_at = sent_at(&headers).map_err(rejected)?;
    // A webhook without any valid alert is rejected.
    if reading.alerts.iter().any(Result::is_ok) {
        freshness::check_webhook(sent_at, reading.newest_start, now).map_err(rejected)?;
    }
    let gateway = app.gateway.clone();
    let entries = detached(in_flight, async move {
        use futures::StreamExt;
        let take = |alert: Result<alertmanager::Read, Vec<FieldError>>| {
            let gateway = gateway.clone();
            async move {
                match alert {
                    Err(errors) => {
                        gateway.metrics().rejected(SignalType::PrometheusAlert);
                        Entry::Rejected(errors)
                    }
                    Ok(alert) if alert.resolved => Entry::Resolved(alert.signal.fingerprint()),
                    Ok(alert) => Entry::Taken(gateway.take(alert.signal).await),
                }
            }
        };
        futures::stream::iter(reading.alerts)
            .map(take)
            .buffered(ALERTS_AT_ONCE)
            .collect()
            .await
    });
    response::webhook(entries.await?)
}

/// `POST /api/v1/signals/kubernetes-event`: one event.
///
/// # Errors
/// See `docs/gateway.md`.
#[utoipa::path(post, path = "/api/v1/signals/kubernetes-event", tag = "signals", request_body = Event,
    params(("X-Timestamp" = Option<i64>, Header, description = "When it was sent, Unix seconds: at most 5 minutes ago, 2 minutes ahead")),
    responses(
        (status = 201, body = response::Single, description = "A RemediationRequest was created"),
        (status = 202, body = response::Single, description = "Counted on an active one, or resolved"),
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
    let gateway = app.gateway.clone();
    let taken = detached(in_flight, async move { gateway.take(reading.signal).await }).await?;
    response::single(Entry::Taken(taken))
}

/// Completes even when the client hangs up or the timeout passes: what was started in the cluster must get its audit
/// events.
async fn detached<T: Send + 'static>(
    in_flight: InFlight,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Failure> {
    let task = async move {
        let _in_flight = in_flight;
        work.await
    };
    tokio::spawn(task.in_current_span())
        .await
        .map_err(|error| Failure::internal(&error))
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
