//! The record of a notification.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use service::http::{Failure, JsonBody};
use utoipa::ToSchema;
use wire::problem::Problem;

use super::Service;
use crate::availability::Dependency;
use crate::domain::event::Micros;
use crate::domain::notification::{Notification, Status};
use crate::store::append::Unavailable;
use crate::store::notifications::{self, Stored};
use crate::store::stream::{Kind, StreamError};

/// The record of a notification.
#[derive(Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "only its schema is used: the body is read field by field, to report every error at once"
)]
pub(super) struct NotificationRecord {
    /// Set by the sender.
    #[schema(min_length = 1, max_length = 255)]
    notification_id: String,
    /// Id of the remediation.
    #[schema(min_length = 1, max_length = 255)]
    remediation_id: String,
    /// Recipient.
    #[schema(min_length = 1, max_length = 255)]
    recipient: String,
    /// Channel, such as `email` or `slack`.
    #[schema(min_length = 1, max_length = 50)]
    channel: String,
    /// Content.
    #[schema(min_length = 1, max_length = 10_000)]
    message_summary: String,
    /// Status.
    status: Status,
    /// When it was sent, at most 5 minutes ahead.
    #[schema(value_type = String, format = DateTime)]
    sent_at: String,
    /// Response of the channel.
    #[schema(max_length = 255)]
    delivery_status: Option<String>,
    /// Error message.
    #[schema(max_length = 10_000)]
    error_message: Option<String>,
    /// Escalation level.
    #[schema(minimum = 0, maximum = 100)]
    escalation_level: Option<i32>,
}

/// An accepted record.
#[derive(Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "only its schema is used: the response is the record that was sent, and two more fields"
)]
pub(super) struct NotificationAccepted {
    /// The record.
    #[serde(flatten)]
    record: NotificationRecord,
    /// Time of storing; absent while it is in the stream.
    #[schema(value_type = Option<String>, format = DateTime)]
    recorded_at: Option<String>,
    /// Message for people: whether it is stored or in the stream.
    message: String,
}

/// Stores the record of a notification.
#[utoipa::path(post, path = "/api/v1/audit/notifications", tag = "notifications", request_body = NotificationRecord,
    responses((status = 201, body = NotificationAccepted, description = "Stored"),
        (status = 202, body = NotificationAccepted, description = "In the stream until the database is available"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "That notification_id is stored already")))]
pub(super) async fn create(
    State(service): State<Service>,
    JsonBody(body): JsonBody<Value>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let begin = Instant::now();
    let notification =
        Notification::read(body, Micros::now()).map_err(|invalid| service.invalid(&invalid))?;
    let storing = service.clone();
    // A task of its own: a client that hangs up must not stop it halfway.
    let (status, mut answer) = tokio::spawn(async move { store(&storing, notification).await })
        .await
        .map_err(|error| Failure::internal(&error))??;
    service
        .shared
        .metrics
        .write("audit_notifications", begin.elapsed());
    answer["message"] = match status {
        StatusCode::CREATED => "notification stored".into(),
        _ => "notification accepted; it is stored when the database is available again".into(),
    };
    Ok((status, Json(answer)))
}

async fn store(service: &Service, notification: Notification) -> Result<(StatusCode, Value), Failure> {
    let shared = &service.shared;
    let mut answer = notification.to_json();
    let result = if shared.availability.is_down(Dependency::Postgresql) {
        Err(Unavailable::Failed("PostgreSQL is unavailable".to_owned()))
    } else {
        notifications::insert(shared.database.pool(), &notification).await
    };
    match result {
        Ok(Stored::New(recorded_at)) => {
            answer["recorded_at"] = recorded_at.to_timestamp().to_string().into();
            Ok((StatusCode::CREATED, answer))
        }
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
        Err(away) => {
            tracing::debug!(%away, "a notification goes to the stream");
            let body = notification.to_json().to_string();
            match shared.streams.add(Kind::Notifications, &[&body]).await {
                Ok(()) => {
                    shared.metrics.spilled(Kind::Notifications, 1);
                    Ok((StatusCode::ACCEPTED, answer))
                }
                Err(StreamError::Full(_)) => Err(Failure::unavailable(
                    "the database is unavailable and the stream is full",
                    5,
                )),
                Err(StreamError::Unavailable(error)) => {
                    shared.availability.down(Dependency::Redis, error.to_string());
                    Err(Failure::unavailable(
                        "neither the database nor the stream accepts writes",
                        5,
                    ))
                }
            }
        }
    }
}
