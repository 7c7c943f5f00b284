//! Counts of outcomes.

use tokio_postgres::Client;

use crate::domain::success_rate::{Counts, RateRequest};

/// The condition of the partial indexes of migration V2.
const OUTCOMES: &str =
    "event_category IN ('workflow', 'execution') AND event_action IN ('completed', 'failed')
     AND event_outcome IN ('success', 'failure')";

/// Counts by workflow and version, the most frequent first; at most 1,000.
pub(crate) async fn count(
    client: &Client,
    request: &RateRequest,
) -> Result<Vec<(Option<String>, Option<String>, Counts)>, tokio_postgres::Error> {
    let sql = format!(
        "SELECT event_data ->> 'workflow_id', event_data ->> 'workflow_version',
             count(*) FILTER (WHERE event_outcome = 'success'), count(*) FILTER (WHERE event_outcome = 'failure')
         FROM audit_events
         WHERE {OUTCOMES} AND event_timestamp >= $1 AND event_timestamp <= $2
             AND ($3::text IS NULL OR event_data ->> 'incident_type' = $3)
             AND ($4::text IS NULL OR event_data ->> 'workflow_id' = $4)
             AND ($5::text IS NULL OR event_data ->> 'workflow_version' = $5)
             AND ($6::text IS NULL OR event_data ->> 'action_type' = $6)
         GROUP BY 1, 2 ORDER BY count(*) DESC, 1, 2 LIMIT 1000"
    );
    let RateRequest {
        incident_type,
        workflow_id,
        workflow_version,
        action_type,
        since,
        until,
        ..
    } = request;
    let rows = client
        .query(
            &sql,
            &[
                since,
                until,
                incident_type,
                workflow_id,
                workflow_version,
                action_type,
            ],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            (
                row.get(0),
                row.get(1),
                Counts {
                    successes: row.get(2),
                    failures: row.get(3),
                },
            )
        })
        .collect())
}
