//! Removes expired events: whole months by dropping their partition, single rows where a hold or a longer retention
//! keeps others. A removed run leaves its hashes, so that the rest of a chain verifies.

use jiff::civil::Date;
use tokio_postgres::{Client, Transaction};

use crate::domain::event::Micros;
use crate::store::partitions::month_of;

/// One replica at a time.
const LOCK: i64 = 0x6175_6469_745f_7265;
/// Rows per transaction: their locks keep writers of the same chains waiting.
const ROWS: i64 = 1000;

/// What a run removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) partitions: usize,
    pub(crate) rows: u64,
}

/// Runs once, unless another replica does.
pub(crate) async fn run(
    client: &mut Client,
    default_days: i32,
    now: Micros,
) -> Result<Removed, tokio_postgres::Error> {
    let locked: bool = client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])
        .await?
        .get(0);
    if !locked {
        return Ok(Removed::default());
    }
    let result = run_locked(client, default_days, now).await;
    client
        .query_one("SELECT pg_advisory_unlock($1)", &[&LOCK])
        .await?;
    result
}

async fn run_locked(
    client: &mut Client,
    default_days: i32,
    now: Micros,
) -> Result<Removed, tokio_postgres::Error> {
    let mut removed = Removed::default();
    // Scanning a month takes long; it disturbs no one.
    client.batch_execute("SET statement_timeout = 0").await?;
    for (name, month) in partitions(client).await? {
        let is_past = month
            .checked_add(jiff::Span::new().months(2))
            .is_ok_and(|after| after <= month_of(now));
        if is_past && drop_partition(client, &name, month, default_days, now).await? {
            tracing::info!(partition = name, "retention dropped a month");
            removed.partitions += 1;
            continue;
        }
        loop {
            let rows = remove_rows(client, &name, default_days, now).await?;
            removed.rows += rows;
            if rows == 0 {
                break;
            }
        }
    }
    Ok(removed)
}

/// The attached partitions, oldest first, with their months.
async fn partitions(client: &Client) -> Result<Vec<(String, Date)>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT child.relname::text FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
             WHERE inhparent = 'audit_events'::regclass ORDER BY 1",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let name: String = row.get(0);
            let (year, month) = name.strip_prefix("audit_events_")?.split_once('_')?;
            let date = Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
            Some((name, date))
        })
        .collect())
}

/// In two parts, for an index each: few events have their own retention.
const EXPIRED: &str = "((retention_days IS NULL AND event_timestamp < $1::timestamptz - make_interval(days => $2)) OR
     (retention_days IS NOT NULL AND event_timestamp < $1::timestamptz - make_interval(days => retention_days)))";
const HELD: &str = "EXISTS (SELECT 1 FROM audit_legal_holds AS hold
     WHERE hold.correlation_id = event.correlation_id AND hold.released_at IS NULL)";
/// The hashes at the ends of each run of removed events, for the chain and for the transparency log.
const GAPS: &str =
    "WITH made AS (
         INSERT INTO audit_chain_gaps (correlation_id, first_sequence, last_sequence, previous_hash, last_hash)
         SELECT correlation_id, min(sequence), max(sequence), (array_agg(previous_hash ORDER BY sequence))[1],
             (array_agg(event_hash ORDER BY sequence DESC))[1]
         FROM (SELECT *, sequence - row_number() OVER (PARTITION BY correlation_id ORDER BY sequence) AS run
               FROM {source}) AS numbered
         GROUP BY correlation_id, run ON CONFLICT DO NOTHING RETURNING *)
     INSERT INTO audit_log_pending (kind, correlation_id, sequence, last_sequence, hash, entry)
     SELECT 2, made.correlation_id, first_sequence, last_sequence, sha256(convert_to(entry, 'UTF8')), entry
     FROM made, LATERAL (SELECT audit_gap_entry(made::audit_chain_gaps) AS entry) AS text";

/// Drops a month in which nothing must be kept; returns whether it did.
async fn drop_partition(
    client: &mut Client,
    name: &str,
    month: Date,
    default_days: i32,
    now: Micros,
) -> Result<bool, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    // Until the commit no hold can be placed, and no waiting event can be stored in this month.
    transaction
        .batch_execute(&format!(
            "LOCK TABLE audit_legal_holds IN SHARE MODE; LOCK TABLE {name} IN SHARE MODE"
        ))
        .await?;
    let kept = format!("SELECT EXISTS (SELECT 1 FROM {name} AS event WHERE NOT ({EXPIRED}) OR {HELD})");
    if transaction.query_one(&kept, &[&now, &default_days]).await?.get(0) {
        return Ok(false);
    }
    lock_heads(&transaction, name).await?;
    transaction.execute(&GAPS.replace("{source}", name), &[]).await?;
    forget_chains(
        &transaction,
        name,
        &format!("event.tableoid <> '{name}'::regclass"),
    )
    .await?;
    let next = month.checked_add(jiff::Span::new().months(1)).unwrap_or(month);
    transaction
        .execute(
            "DELETE FROM audit_event_ids WHERE event_timestamp >= $1::text::timestamptz
             AND event_timestamp < $2::text::timestamptz",
            &[&format!("{month} 00:00:00+00"), &format!("{next} 00:00:00+00")],
        )
        .await?;
    // Last, because it blocks every reader and writer until the commit. `partitions` has found the name.
    transaction
        .batch_execute(&format!(
            "ALTER TABLE audit_events DETACH PARTITION {name}; DROP TABLE {name}"
        ))
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// Removes some of the expired rows of a month; returns their number.
async fn remove_rows(
    client: &mut Client,
    name: &str,
    default_days: i32,
    now: Micros,
) -> Result<u64, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let chosen = format!(
        "CREATE TEMPORARY TABLE expired ON COMMIT DROP AS
         SELECT event_id, event_timestamp, correlation_id, sequence, previous_hash, event_hash
         FROM {name} AS event WHERE false"
    );
    transaction.batch_execute(&chosen).await?;
    let fill = format!(
        "INSERT INTO expired SELECT event_id, event_timestamp, correlation_id, sequence, previous_hash, event_hash
         FROM {name} AS event WHERE {EXPIRED} AND NOT {HELD} ORDER BY correlation_id LIMIT $3"
    );
    let rows = transaction.execute(&fill, &[&now, &default_days, &ROWS]).await?;
    if rows > 0 {
        delete_expired(&transaction, name).await?;
    }
    transaction.commit().await?;
    Ok(rows)
}

async fn delete_expired(transaction: &Transaction<'_>, name: &str) -> Result<(), tokio_postgres::Error> {
    // A hold placed since makes the trigger reject the deletion, and the next run sees it.
    lock_heads(transaction, "expired").await?;
    transaction
        .execute(&GAPS.replace("{source}", "expired"), &[])
        .await?;
    transaction
        .execute(
            &format!(
                "DELETE FROM {name} AS event USING expired
                 WHERE event.event_id = expired.event_id AND event.event_timestamp = expired.event_timestamp"
            ),
            &[],
        )
        .await?;
    transaction
        .execute(
            "DELETE FROM audit_event_ids WHERE event_id IN (SELECT event_id FROM expired)",
            &[],
        )
        .await?;
    forget_chains(transaction, "expired", "true").await
}

/// Removes the records of empty chains, in the transaction that removed their last events: readers see the whole
/// chain, or nothing of it. `kept` limits the events that count. Their heads are locked: a chain that grows
/// meanwhile stays, or begins again.
async fn forget_chains(
    transaction: &Transaction<'_>,
    source: &str,
    kept: &str,
) -> Result<(), tokio_postgres::Error> {
    let forget = format!(
        "WITH gone AS (SELECT correlation_id, sum(last_sequence - first_sequence + 1) AS events
                       FROM audit_chain_gaps WHERE correlation_id IN (SELECT correlation_id FROM {source})
                       GROUP BY correlation_id),
         forgotten AS (DELETE FROM audit_chain_heads AS head USING gone
                       WHERE head.correlation_id = gone.correlation_id AND head.sequence = gone.events
                       AND NOT EXISTS (SELECT 1 FROM audit_events AS event
                                       WHERE event.correlation_id = head.correlation_id AND {kept})
                       RETURNING head.correlation_id)
         DELETE FROM audit_chain_gaps WHERE correlation_id IN (SELECT correlation_id FROM forgotten)"
    );
    transaction.execute(&forget, &[]).await?;
    Ok(())
}

/// Locks the heads of all chains with rows in `source`, in the common order of locks.
async fn lock_heads(transaction: &Transaction<'_>, source: &str) -> Result<(), tokio_postgres::Error> {
    let lock = format!(
        "SELECT 1 FROM audit_chain_heads WHERE correlation_id IN (SELECT correlation_id FROM {source})
         ORDER BY correlation_id FOR UPDATE"
    );
    transaction.execute(&lock, &[]).await?;
    Ok(())
}
