//! The record of a message that was sent.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use service::http::{Failure, JsonBody};

use super::Service;
use crate::availability::Dependency;
use crate::domain::event::Micros;
use crate::domain::notification::Notification;
use crate::store::append::Away;
use crate::store::notifications::{self, Stored};
use crate::store::stream::{Kind, StreamError};

pub(super) async fn create(
    State(service): State<Service>,
    JsonBody(body): JsonBody<Value>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let begin = Instant::now();
    let notification =
        Notification::read(body, Micros::now()).map_err(|invalid| service.invalid(&invalid))?;
    let storing = service.clone();
    // A task of its own: a client that hangs up must not stop it half way.
    let (status, mut answer) = tokio::spawn(async move { store(&storing, notification).await })
        .await
        .map_err(|error| Failure::internal(&error))??;
    service
        .shared
        .metrics
        .write("audit_notifications", begin.elapsed());
    answer["message"] = match status {
        StatusCode::CREATED => "notification stored".into(),
        _ => "notification accepted; it is stored as soon as the database is back".into(),
    };
    Ok((status, Json(answer)))
}

async fn store(service: &Service, notification: Notification) -> Result<(StatusCode, Value), Failure> {
    let shared = &service.shared;
    let mut answer = notification.to_json();
    let result = if shared.availability.is_up(Dependency::Postgresql) {
        notifications::insert(shared.database.pool(), &notification).await
    } else {
        Err(Away::Failed("PostgreSQL is away".to_owned()))
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
        Ok(Stored::Refused(reason)) => {
            tracing::error!(reason, "PostgreSQL refuses a notification that is valid here");
            Err(Failure::invalid(
                "the database refuses the notification; the log has its reason",
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
                    "the database is away and the stream is full",
                    5,
                )),
                Err(StreamError::Away(error)) => {
                    shared.availability.down(Dependency::Redis, error.to_string());
                    Err(Failure::unavailable(
                        "neither the database nor the stream takes writes",
                        5,
                    ))
                }
            }
        }
    }
}
