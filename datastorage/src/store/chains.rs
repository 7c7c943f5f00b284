//! Chains as they are kept.

use std::pin::pin;

use futures::TryStreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel};

use crate::domain::canonical::canonical;
use crate::domain::chain::Keys;
use crate::domain::event::{Event, Sealed};
use crate::domain::verification::{ChainVerification, Gap, Head, Link, Place, verify};
use crate::store::events::{self, COLUMNS, Stored};
use crate::store::types::HashColumn;

/// Verifies a chain from one snapshot; `None` if there is no trace of it.
pub(crate) async fn verify_chain(
    client: &mut Client,
    correlation_id: &str,
    keys: &Keys,
) -> Result<Option<ChainVerification>, tokio_postgres::Error> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
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
            "SELECT first_sequence, last_sequence, previous_hash, last_hash FROM audit_chain_gaps
             WHERE correlation_id = $1 ORDER BY first_sequence",
            &[&correlation_id],
        )
        .await?
        .iter()
        .map(|row| Gap {
            first: row.get(0),
            last: row.get(1),
            previous_hash: row.get::<_, HashColumn>(2).0,
            last_hash: row.get::<_, HashColumn>(3).0,
        })
        .collect();
    let sql = format!("SELECT {COLUMNS} FROM audit_events WHERE correlation_id = $1");
    let parameters: [&(dyn ToSql + Sync); 1] = [&correlation_id];
    let mut rows = pin!(transaction.query_raw(&sql, parameters).await?);
    let mut links = Vec::new();
    while let Some(row) = rows.try_next().await? {
        links.push(link_of(events::read(&row)?, keys));
    }
    if links.is_empty() && gaps.is_empty() && head.is_none() {
        return Ok(None);
    }
    Ok(Some(verify(correlation_id, links, &gaps, head)))
}

/// An event as it was sealed: its data, which PostgreSQL wrote in its own way, made canonical again.
pub(crate) fn seal_again(event: Event) -> Sealed {
    // JSONB gives JSON; were it not, the hash would not fit, which is what there is to say.
    let value = serde_json::from_str(&event.event_data).unwrap_or(serde_json::Value::Null);
    let event_data = canonical(&value).text;
    Sealed::new(Event { event_data, ..event })
}

fn link_of(stored: Stored, keys: &Keys) -> Link {
    let Stored {
        event,
        sequence,
        recorded_at,
        previous_hash,
        event_hash,
        chain_key,
    } = stored;
    let place = Place {
        sequence,
        recorded_at,
        previous_hash,
        event_hash,
        chain_key: chain_key.as_deref(),
    };
    Link::of(&seal_again(event), &place, keys)
}
