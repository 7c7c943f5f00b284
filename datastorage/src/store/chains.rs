//! Stored chains.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;

use futures::TryStreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, GenericClient, IsolationLevel, Row};

use crate::domain::log::ChainLog;
use crate::domain::time::Micros;
use crate::domain::trust::Trust;
use crate::domain::verification::{Chain, ChainVerification, Gap, Head, Link, verify};
use crate::store::events::{self, COLUMNS};
use crate::store::log::{self, LeafTiles};
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
    let correlation_ids = [correlation_id.to_owned()];
    let mut verified = verify_in(&transaction, &correlation_ids, trust, &mut LeafTiles::default()).await?;
    Ok(verified.pop())
}

/// What is stored of a chain.
#[derive(Default)]
struct Parts {
    links: Vec<Link>,
    gaps: Vec<Gap>,
    head: Option<Head>,
    /// Descriptions of holds and releases.
    holds: BTreeSet<String>,
    log: ChainLog,
}

/// Verifies chains as the transaction of this client sees them; one of which nothing exists is left out. Memory: all of
/// them, but for their events' data.
pub(crate) async fn verify_in(
    client: &impl GenericClient,
    correlation_ids: &[String],
    trust: &Trust,
    tiles: &mut LeafTiles,
) -> Result<Vec<ChainVerification>, tokio_postgres::Error> {
    let mut chains: BTreeMap<String, Parts> = BTreeMap::new();
    let parameters: [&(dyn ToSql + Sync); 1] = [&correlation_ids];
    let heads =
        "SELECT correlation_id, sequence, event_hash FROM audit_chain_heads WHERE correlation_id = ANY($1)";
    for row in client.query(heads, &parameters).await? {
        chains.entry(row.get(0)).or_default().head = Some(head(&row));
    }
    let gaps =
        "SELECT correlation_id, first_sequence, last_sequence, previous_hash, last_hash, audit_gap_entry(gap)
         FROM audit_chain_gaps AS gap WHERE correlation_id = ANY($1)";
    for row in client.query(gaps, &parameters).await? {
        chains.entry(row.get(0)).or_default().gaps.push(gap(&row));
    }
    let holds = "SELECT correlation_id, audit_hold_entry(hold), audit_release_entry(hold)
         FROM audit_legal_holds AS hold WHERE correlation_id = ANY($1)";
    for row in client.query(holds, &parameters).await? {
        let descriptions = [row.get(1), row.get::<_, Option<String>>(2)];
        chains
            .entry(row.get(0))
            .or_default()
            .holds
            .extend(descriptions.into_iter().flatten());
    }
    let sql = format!("SELECT {COLUMNS} FROM audit_events WHERE correlation_id = ANY($1)");
    let mut rows = pin!(client.query_raw(&sql, parameters).await?);
    let mut links: HashMap<String, Vec<Link>> = HashMap::new();
    while let Some(row) = rows.try_next().await? {
        let (event, data, place) = events::read(&row)?.parts();
        let link = Link::of(&event, data, &place, &trust.chain);
        match links.get_mut(&event.correlation_id) {
            Some(links) => links.push(link),
            None => _ = links.insert(event.correlation_id, vec![link]),
        }
    }
    for (correlation_id, links) in links {
        chains.entry(correlation_id).or_default().links = links;
    }
    for (correlation_id, log) in log::chains(client, correlation_ids, trust.log.as_ref(), tiles).await? {
        chains.entry(correlation_id).or_default().log = log;
    }
    let now = Micros::now();
    let verified = chains.into_iter().map(|(correlation_id, parts)| {
        verify(Chain {
            correlation_id: &correlation_id,
            links: parts.links,
            gaps: parts.gaps,
            head: parts.head,
            holds: parts.holds,
            log: parts.log,
            keys: &trust.chain,
            now,
        })
    });
    Ok(verified.collect())
}

fn head(row: &Row) -> Head {
    Head {
        sequence: row.get(1),
        hash: row.get::<_, HashColumn>(2).0,
    }
}

fn gap(row: &Row) -> Gap {
    Gap {
        first: row.get(1),
        last: row.get(2),
        previous_hash: row.get::<_, HashColumn>(3).0,
        last_hash: row.get::<_, HashColumn>(4).0,
        entry: row.get(5),
    }
}
