//! The record of a notification.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use service::http::{Failure, RawBody};
use utoipa::ToSchema;
use wire::problem::Problem;

use super::Service;
use crate::availability::Dependency;
use crate::domain::event::Micros;
use crate::domain::notification::Notification;
use crate::store::append::Unavailable;
use crate::store::notifications::{self, Stored};
use crate::store::stream::Kind;

/// An accepted record.
#[derive(Serialize, ToSchema)]
pub(super) struct NotificationAccepted {
    /// The record.
    #[serde(flatten)]
    record: Notification,
    /// Time of storing; absent while it is in the stream.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_at: Option<Timestamp>,
    /// Present if `sent_at` is further from the time of arrival than `[clock]` allows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    clock_skew: bool,
    /// Message for people: whether it is stored or in the stream.
    message: &'static str,
}

/// Stores the record of a notification.
#[utoipa::path(post, path = "/api/v1/audit/notifications", tag = "notifications", request_body = Notification,
    responses((status = 201, body = NotificationAccepted, description = "Stored"),
        (status = 202, body = NotificationAccepted, description = "In the stream until the database is available"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "That notification_id is stored already")))]
pub(super) async fn create(
    State(service): State<Service>,
    RawBody(body): RawBody,
) -> Result<(StatusCode, Json<NotificationAccepted>), Failure> {
    let begin = Instant::now();
    let now = Micros::now();
    let notification = Notification::read(&body, now).map_err(|invalid| service.invalid(&invalid))?;
    let clock_skew = service.clock.exceeded(notification.sent_at, now);
    let storing = service.clone();
    // A task of its own: a client that hangs up must not stop it halfway.
    let mut accepted = tokio::spawn(async move { store(&storing, notification).await })
        .await
        .map_err(|error| Failure::internal(&error))??;
    accepted.clock_skew = clock_skew;
    if clock_skew {
        service.shared.metrics.clock_skew();
    }
    service
        .shared
        .metrics
        .write("audit_notifications", begin.elapsed());
    let status = match accepted.recorded_at {
        Some(_) => StatusCode::CREATED,
        None => StatusCode::ACCEPTED,
    };
    Ok((status, Json(accepted)))
}

async fn store(service: &Service, notification: Notification) -> Result<NotificationAccepted, Failure> {
    let shared = &service.shared;
    let result = if shared.availability.is_down(Dependency::Postgresql) {
        Err(Unavailable::Failed("PostgreSQL is unavailable".to_owned()))
    } else {
        let limit = shared.commit_timeout;
        tokio::time::timeout(
            limit,
            notifications::insert(shared.database.pool(), &notification),
        )
        .await
        .unwrap_or(Err(Unavailable::TimedOut(limit)))
    };
    match result {
        Ok(Stored::New(recorded_at)) => Ok(NotificationAccepted {
            record: notification,
            recorded_at: Some(recorded_at.to_timestamp()),
            clock_skew: false,
            message: "notification stored",
        }),
        Ok(Stored::Known { .. }) => Err(Failure::conflict(format!(
            "a notification with the notification_id {:?} is stored already",
            notification.notification_id
        ))),
        Ok(Stored::Rejected(reason)) => {
            tracing::error!(reason, "PostgreSQL rejects a notification that passed validation");
            Err(Failure::invalid(
                "the database rejects the notification; the log has the reason",
                Vec::new(),
            ))
        }
        Err(unavailable) => {
            tracing::debug!(%unavailable, "a notification is added to the stream");
            let body = serde_json::to_string(&notification).map_err(|error| Failure::internal(&error))?;
            match shared.streams.add(Kind::Notifications, body).await {
                Ok(()) => {
                    shared.metrics.spilled(Kind::Notifications, 1);
                    Ok(NotificationAccepted {
                        record: notification,
                        recorded_at: None,
                        clock_skew: false,
                        message: "notification accepted; it is stored when the database is available again",
                    })
                }
                Err(error) => Err(Failure::unavailable(shared.not_spilled(&error).message(), 5)),
            }
        }
    }
}
