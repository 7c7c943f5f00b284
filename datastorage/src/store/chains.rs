//! Stored chains.

use std::pin::pin;

use futures::TryStreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use crate::domain::time::Micros;
use crate::domain::trust::Trust;
use crate::domain::verification::{Chain, ChainVerification, Gap, Head, Link, verify};
use crate::store::events::{self, COLUMNS};
use crate::store::log;
use crate::store::types::HashColumn;

/// Verifies a chain from one snapshot; `None` if nothing of it exists.
pub(crate) async fn verify_chain(
    client: &mut Client,
    correlation_id: &str,
    trust: &Trust,
) -> Result<Option<ChainVerification>, tokio_postgres::Error> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    verify_in(&transaction, correlation_id, trust).await
}

/// Verifies a chain as this transaction sees it; `None` if nothing of it exists.
pub(crate) async fn verify_in(
    transaction: &Transaction<'_>,
    correlation_id: &str,
    trust: &Trust,
) -> Result<Option<ChainVerification>, tokio_postgres::Error> {
    let head = transaction
        .query_opt(
            "SELECT sequence, event_hash FROM audit_chain_heads WHERE correlation_id = $1",
            &[&correlation_id],
        )
        .await?
        .map(|row| Head {
            sequence: row.get(0),
            hash: row.get::<_, HashColumn>(1).0,
        });
    let gaps: Vec<Gap> = transaction
        .query(
            "SELECT first_sequence, last_sequence, previous_hash, last_hash, audit_gap_entry(gap)
             FROM audit_chain_gaps AS gap WHERE correlation_id = $1",
            &[&correlation_id],
        )
        .await?
        .iter()
        .map(|row| Gap {
            first: row.get(0),
            last: row.get(1),
            previous_hash: row.get::<_, HashColumn>(2).0,
            last_hash: row.get::<_, HashColumn>(3).0,
            entry: row.get(4),
        })
        .collect();
    let sql = format!("SELECT {COLUMNS} FROM audit_events WHERE correlation_id = $1");
    let parameters: [&(dyn ToSql + Sync); 1] = [&correlation_id];
    let mut rows = pin!(transaction.query_raw(&sql, parameters).await?);
    let mut links = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let (sealed, place) = events::read(&row)?.seal_again();
        links.push(Link::of(&sealed, &place, &trust.chain));
    }
    let log = log::chain(transaction, correlation_id, trust.log.as_ref()).await?;
    if links.is_empty() && gaps.is_empty() && head.is_none() && log.remaining().next().is_none() {
        return Ok(None);
    }
    Ok(Some(verify(Chain {
        correlation_id,
        links,
        gaps,
        head,
        log,
        keys: &trust.chain,
        now: Micros::now(),
    })))
}
