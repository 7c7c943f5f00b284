//! What the outcomes of the stores are in HTTP.

use axum::http::StatusCode;
use service::http::Failure;
use wire::problem::FieldError;

use crate::group::Outcome;
use crate::store::append::Verdict;
use crate::store::failure::describe;

/// Seconds after which to come again when neither store takes a write.
const RETRY_AFTER: u64 = 5;

/// 201 for what is stored, 202 for what waits in the stream, a problem for the rest. `field` names a field of the
/// event at an index.
pub(super) fn written(
    outcome: Outcome,
    field: impl Fn(usize, &str) -> String,
) -> Result<StatusCode, Failure> {
    match outcome {
        Outcome::Answered(Verdict::Stored) => Ok(StatusCode::CREATED),
        Outcome::Queued => Ok(StatusCode::ACCEPTED),
        Outcome::Unavailable(reason) => Err(Failure::unavailable(reason, RETRY_AFTER)),
        Outcome::Answered(Verdict::Conflict { index, event_id }) => {
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
        Outcome::Answered(Verdict::MissingParent { index, parent }) => {
            let field = field(index, "parent_event_id");
            let message = format!("is {parent}, which is not stored; send the parent first");
            Err(Failure::invalid(
                format!("{field} {message}"),
                vec![FieldError { field, message }],
            ))
        }
        // Validation and the database's limits agree, so that this is a gap between the two.
        Outcome::Answered(Verdict::Refused(reason)) => {
            tracing::error!(reason, "PostgreSQL refuses an event that is valid here");
            Err(Failure::invalid(
                "the database refuses the event; the log has its reason",
                Vec::new(),
            ))
        }
    }
}

/// A query that failed: 503 where the database is away or too slow.
pub(super) fn query_failed(error: &tokio_postgres::Error) -> Failure {
    tracing::warn!(error = describe(error), "a query failed");
    Failure::unavailable("the database is away, or the query took too long", RETRY_AFTER)
}

/// No connection is free, or none can be made.
pub(super) fn no_connection(error: &deadpool_postgres::PoolError) -> Failure {
    tracing::warn!(%error, "no connection to PostgreSQL");
    Failure::unavailable(
        "the database is away, or all connections to it are in use",
        RETRY_AFTER,
    )
}
