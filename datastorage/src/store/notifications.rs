//! Notifications in PostgreSQL.

use deadpool_postgres::Pool;
use tokio_postgres::Client;

use crate::domain::event::Micros;
use crate::domain::notification::Notification;
use crate::store::append::Unavailable;
use crate::store::failure::{Meaning, describe, meaning};

/// The verdict on a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is stored, at that time.
    New(Micros),
    /// One with its id was stored before; whether it is equal.
    Known { same: bool },
    /// The database rejects the data.
    Rejected(String),
}

const INSERT: &str = "INSERT INTO audit_notifications (notification_id, remediation_id, recipient, channel,
        message_summary, status, sent_at, delivery_status, error_message, escalation_level)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING recorded_at";
const SAME: &str = "SELECT count(*) FROM audit_notifications WHERE notification_id = $1 AND remediation_id = $2
    AND recipient = $3 AND channel = $4 AND message_summary = $5 AND status = $6 AND sent_at = $7
    AND delivery_status IS NOT DISTINCT FROM $8 AND error_message IS NOT DISTINCT FROM $9 AND escalation_level = $10";

/// Stores a notification through the pool.
pub(crate) async fn insert(pool: &Pool, notification: &Notification) -> Result<Stored, Unavailable> {
    let client = pool
        .get()
        .await
        .map_err(|error| Unavailable::Failed(error.to_string()))?;
    insert_with(&client, notification).await
}

/// Stores a notification.
pub(crate) async fn insert_with(client: &Client, notification: &Notification) -> Result<Stored, Unavailable> {
    let status = notification.status.as_str();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 10] = [
        &notification.notification_id,
        &notification.remediation_id,
        &notification.recipient,
        &notification.channel,
        &notification.message_summary,
        &status,
        &notification.sent_at,
        &notification.delivery_status,
        &notification.error_message,
        &notification.escalation_level,
    ];
    match client.query_opt(INSERT, &parameters).await {
        Ok(Some(row)) => Ok(Stored::New(row.get(0))),
        Ok(None) => {
            let same: i64 = client.query_one(SAME, &parameters).await?.get(0);
            Ok(Stored::Known { same: same == 1 })
        }
        Err(error) if meaning(&error) == Meaning::Rejected => Ok(Stored::Rejected(describe(&error))),
        Err(error) => Err(error.into()),
    }
}
