//! HTTP responses for the outcomes of the stores.

use axum::http::StatusCode;
use service::http::Failure;
use wire::problem::FieldError;

use super::json::Unreadable;
use crate::group::Outcome;
use crate::store::append::Verdict;
use crate::store::failure::{describe, is_invalid_value};

/// Retry-After in seconds when neither store accepts a write.
const RETRY_AFTER: u64 = 5;

/// 201 for stored events, 202 for events in the stream, otherwise a problem. `field` names a field of the event at
/// an index.
pub(super) fn written(
    outcome: Outcome,
    field: impl Fn(usize, &str) -> String,
) -> Result<StatusCode, Failure> {
    match outcome {
        Outcome::Decided(Verdict::Stored) => Ok(StatusCode::CREATED),
        Outcome::Queued => Ok(StatusCode::ACCEPTED),
        Outcome::Unavailable(reason) => Err(Failure::unavailable(reason, RETRY_AFTER)),
        Outcome::Decided(Verdict::Conflict { index, event_id }) => {
            let mut failure = Failure::conflict(format!(
                "{}: another event with the id {event_id} is stored; send a new event under a new id",
                field(index, "event_id")
            ));
            failure.problem.errors = vec![FieldError {
                field: field(index, "event_id"),
                message: "is another event's".to_owned(),
            }];
            Err(failure)
        }
        Outcome::Decided(Verdict::MissingParent { index, parent }) => {
            let field = field(index, "parent_event_id");
            let message = format!("is {parent}, which is not stored; send the parent first");
            Err(Failure::invalid(
                format!("{field} {message}"),
                vec![FieldError { field, message }],
            ))
        }
        // Validation and the database's limits agree, so this is a gap between the two.
        Outcome::Decided(Verdict::Rejected(reason)) => {
            tracing::error!(reason, "PostgreSQL rejects an event that passed validation");
            Err(Failure::invalid(
                "the database rejects the event; the log has the reason",
                Vec::new(),
            ))
        }
    }
}

/// A failed query: 400 when the database rejects a value, 503 when it is unavailable or too slow.
pub(super) fn query_failed(error: &tokio_postgres::Error) -> Failure {
    if is_invalid_value(error) {
        tracing::warn!(error = describe(error), "the database rejects a parameter");
        return Failure::invalid(
            "the database rejects a parameter: it has no such value",
            Vec::new(),
        );
    }
    tracing::warn!(error = describe(error), "a query failed");
    Failure::unavailable(
        "the database is unavailable, or the query took too long",
        RETRY_AFTER,
    )
}

/// A page that failed: of the database, or an error of the service.
pub(super) fn unreadable(error: &Unreadable) -> Failure {
    match error {
        Unreadable::Column(error) => query_failed(error),
        Unreadable::Data(error) => Failure::internal(error),
    }
}

/// No connection is free, or none can be opened.
pub(super) fn no_connection(error: &deadpool_postgres::PoolError) -> Failure {
    tracing::warn!(%error, "no connection to PostgreSQL");
    Failure::unavailable(
        "the database is unavailable, or all connections to it are in use",
        RETRY_AFTER,
    )
}
