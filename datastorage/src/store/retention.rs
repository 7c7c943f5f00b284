//! Removes expired events: whole months by dropping their partition, single rows where a hold or a longer retention
//! keeps others. A removed run leaves its hashes, and a chain its head, so that what is left or comes later verifies.

use jiff::civil::Date;
use tlog::SignerKey;
use tokio_postgres::{Client, Transaction};

use crate::domain::event::Micros;
use crate::domain::log::Kind;
use crate::store::log::{self, EnterError, Entry};
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

/// What a run removes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention<'a> {
    /// Retention of events without their own.
    pub(crate) default_days: i32,
    pub(crate) now: Micros,
    /// Signs the gaps that removed events leave.
    pub(crate) key: Option<&'a SignerKey>,
}

/// Runs once, unless another replica does.
pub(crate) async fn run(client: &mut Client, retention: Retention<'_>) -> Result<Removed, EnterError> {
    let locked: bool = client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])
        .await?
        .get(0);
    if !locked {
        return Ok(Removed::default());
    }
    let result = run_locked(client, retention).await;
    client
        .query_one("SELECT pg_advisory_unlock($1)", &[&LOCK])
        .await?;
    result
}

async fn run_locked(client: &mut Client, retention: Retention<'_>) -> Result<Removed, EnterError> {
    let mut removed = Removed::default();
    // Scanning a month takes long; it disturbs no one.
    client.batch_execute("SET statement_timeout = 0").await?;
    for (name, month) in partitions(client).await? {
        let is_past = month
            .checked_add(jiff::Span::new().months(2))
            .is_ok_and(|after| after <= month_of(retention.now));
        if is_past && drop_partition(client, &name, month, retention).await? {
            tracing::info!(partition = name, "retention dropped a month");
            removed.partitions += 1;
            continue;
        }
        loop {
            let rows = remove_rows(client, &name, retention).await?;
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
/// The hashes at the ends of each run of removed events.
const GAPS: &str =
    "INSERT INTO audit_chain_gaps (correlation_id, first_sequence, last_sequence, previous_hash, last_hash)
     SELECT correlation_id, min(sequence), max(sequence), (array_agg(previous_hash ORDER BY sequence))[1],
         (array_agg(event_hash ORDER BY sequence DESC))[1]
     FROM (SELECT *, sequence - row_number() OVER (PARTITION BY correlation_id ORDER BY sequence) AS run
           FROM {source}) AS numbered
     GROUP BY correlation_id, run ON CONFLICT DO NOTHING
     RETURNING correlation_id, first_sequence, last_sequence, audit_gap_entry(audit_chain_gaps)";

/// Records the gaps that the rows of `source` leave, for their chains and in the transparency log.
async fn record_gaps(
    transaction: &Transaction<'_>,
    source: &str,
    key: Option<&SignerKey>,
) -> Result<(), EnterError> {
    let made = transaction.bind(&GAPS.replace("{source}", source), &[]).await?;
    loop {
        let rows = transaction
            .query_portal(&made, i32::try_from(log::ENTRIES).unwrap_or(i32::MAX))
            .await?;
        if rows.is_empty() {
            return Ok(());
        }
        let gaps: Vec<Entry> = rows.iter().map(Entry::read).collect();
        log::enter(transaction, Kind::Gap, &gaps, key).await?;
    }
}

/// Drops a month in which nothing must be kept; returns whether it did.
async fn drop_partition(
    client: &mut Client,
    name: &str,
    month: Date,
    retention: Retention<'_>,
) -> Result<bool, EnterError> {
    let Retention {
        default_days, now, ..
    } = retention;
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
    record_gaps(&transaction, name, retention.key).await?;
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
async fn remove_rows(client: &mut Client, name: &str, retention: Retention<'_>) -> Result<u64, EnterError> {
    let Retention {
        default_days, now, ..
    } = retention;
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
        delete_expired(&transaction, name, retention.key).await?;
    }
    transaction.commit().await?;
    Ok(rows)
}

async fn delete_expired(
    transaction: &Transaction<'_>,
    name: &str,
    key: Option<&SignerKey>,
) -> Result<(), EnterError> {
    // A hold placed since makes the trigger reject the deletion, and the next run sees it.
    lock_heads(transaction, "expired").await?;
    record_gaps(transaction, "expired", key).await?;
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
