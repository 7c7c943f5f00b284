//! Counts of outcomes.

use tokio_postgres::{Client, Row};

use crate::domain::success_rate::{Counts, RateRequest};

/// The condition of the partial indexes of migration V5, whose columns are the bounded expressions below.
const OUTCOMES: &str =
    "event_category IN ('workflow', 'execution') AND event_action IN ('completed', 'failed')
     AND event_outcome IN ('success', 'failure')";

/// Counts of outcomes.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Of all groups.
    pub(crate) whole: Counts,
    /// By workflow and version, the most frequent first; at most 1,000.
    pub(crate) groups: Vec<(Option<String>, Option<String>, Counts)>,
    /// Number of all groups.
    pub(crate) total_groups: i64,
}

/// Counts outcomes, in total and by workflow and version.
pub(crate) async fn count(client: &Client, request: &RateRequest) -> Result<Counted, tokio_postgres::Error> {
    let sql = format!(
        "SELECT left(event_data ->> 'workflow_id', 255), left(event_data ->> 'workflow_version', 255),
             count(*) FILTER (WHERE event_outcome = 'success'), count(*) FILTER (WHERE event_outcome = 'failure'),
             (sum(count(*) FILTER (WHERE event_outcome = 'success')) OVER ())::bigint,
             (sum(count(*) FILTER (WHERE event_outcome = 'failure')) OVER ())::bigint,
             count(*) OVER ()
         FROM audit_events
         WHERE {OUTCOMES} AND event_timestamp >= $1 AND event_timestamp <= $2
             AND ($3::text IS NULL OR left(event_data ->> 'incident_type', 255) = $3)
             AND ($4::text IS NULL OR left(event_data ->> 'workflow_id', 255) = $4)
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
    let counts = |row: &Row, successes, failures| Counts {
        successes: row.get(successes),
        failures: row.get(failures),
    };
    Ok(Counted {
        // The sums over all groups are the same in each row.
        whole: rows.first().map(|row| counts(row, 4, 5)).unwrap_or_default(),
        total_groups: rows.first().map_or(0, |row| row.get(6)),
        groups: rows
            .iter()
            .map(|row| (row.get(0), row.get(1), counts(row, 2, 3)))
            .collect(),
    })
}
