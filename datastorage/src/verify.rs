//! `datastorage verify`: the whole database against published checkpoints.

use std::pin::pin;

use futures::TryStreamExt as _;
use tlog::{Checkpoint, Frontier};
use tokio_postgres::{Client, IsolationLevel, Transaction};

use crate::domain::event::Hash;
use crate::domain::trust::Trust;
use crate::domain::verification::TamperedEvent;
use crate::store::{chains, log};

/// Maximum number of reported errors.
const MAX_ERRORS: usize = 1000;

/// Chains of one fetch.
const CHAINS: i32 = 1000;

/// The result.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub(crate) leaves: u64,
    pub(crate) chains: u64,
    pub(crate) events: u64,
    /// The first errors, in words.
    pub(crate) errors: Vec<String>,
}

impl Verified {
    fn error(&mut self, error: String) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }
}

/// Verifies tree, leaves and chains from one snapshot; of the chains all, or those of `correlation_ids`. Memory: one
/// chain.
pub(crate) async fn verify(
    client: &mut Client,
    trust: &Trust,
    checkpoints: &[Checkpoint],
    correlation_ids: &[String],
) -> Result<Verified, tokio_postgres::Error> {
    client.batch_execute("SET statement_timeout = 0").await?;
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let mut verified = Verified {
        leaves: log::size(&transaction).await?,
        ..Verified::default()
    };
    tree(&transaction, checkpoints, &mut verified).await?;
    leaves(&transaction, &mut verified).await?;
    if correlation_ids.is_empty() {
        all_chains(&transaction, trust, &mut verified).await?;
    }
    for correlation_id in correlation_ids {
        if !one_chain(&transaction, correlation_id, trust, &mut verified).await? {
            verified.error(format!("nothing is stored of {correlation_id:?}"));
        }
    }
    Ok(verified)
}

/// Builds the tree again from its leaf hashes, and compares it with each checkpoint at its size.
async fn tree(
    transaction: &Transaction<'_>,
    checkpoints: &[Checkpoint],
    verified: &mut Verified,
) -> Result<(), tokio_postgres::Error> {
    let mut checkpoints: Vec<&Checkpoint> = checkpoints.iter().collect();
    checkpoints.sort_by_key(|checkpoint| checkpoint.size);
    let mut checkpoints = checkpoints.into_iter().peekable();
    let mut tree = Frontier::new();
    let mut compare = |tree: &Frontier, verified: &mut Verified| {
        while let Some(checkpoint) = checkpoints.next_if(|checkpoint| checkpoint.size == tree.size()) {
            if checkpoint.root != tree.root() {
                verified.error(format!(
                    "the tree of {} leaves has the root {}; the checkpoint has {}",
                    checkpoint.size,
                    hex::encode(tree.root()),
                    hex::encode(checkpoint.root)
                ));
            }
        }
        checkpoints.peek().map(|checkpoint| checkpoint.size)
    };
    let mut next = compare(&tree, verified);
    let tiles = "SELECT tile_index, hashes FROM audit_log_tiles WHERE level = 0 ORDER BY tile_index";
    let mut rows = pin!(transaction.query_raw(tiles, std::iter::empty::<&str>()).await?);
    while let Some(row) = rows.try_next().await? {
        let (index, hashes): (i64, &[u8]) = (row.get(0), row.get(1));
        if u64::try_from(index).ok().map(|index| index * 256) != Some(tree.size()) {
            verified.error(format!("the tile before tile/0/{index} is missing or incomplete"));
            break;
        }
        for hash in hashes.as_chunks::<32>().0 {
            // A tree over all possible sizes would not fit into a database.
            let _ = tree.push(Hash::from(*hash));
            if next == Some(tree.size()) {
                next = compare(&tree, verified);
            }
        }
    }
    if tree.size() != verified.leaves {
        verified.error(format!(
            "the tiles have {} leaves, the log {}",
            tree.size(),
            verified.leaves
        ));
    }
    if let Some(size) = next {
        verified.error(format!(
            "a checkpoint has {size} leaves, the tree only {}: the database was put back to an earlier state",
            tree.size()
        ));
    }
    Ok(())
}

/// Every leaf belongs to a chain: one without a row cannot be compared with its event.
async fn leaves(transaction: &Transaction<'_>, verified: &mut Verified) -> Result<(), tokio_postgres::Error> {
    let row = transaction
        .query_one(
            "SELECT count(*), coalesce(max(leaf_index), -1) FROM audit_log_leaves",
            &[],
        )
        .await?;
    let (count, last): (i64, i64) = (row.get(0), row.get(1));
    let size = i64::try_from(verified.leaves).unwrap_or(i64::MAX);
    if (count, last) != (size, size - 1) {
        verified.error(format!(
            "{count} of {size} leaves have a row, the last one at {last}: rows of the log were removed or added"
        ));
    }
    Ok(())
}

async fn all_chains(
    transaction: &Transaction<'_>,
    trust: &Trust,
    verified: &mut Verified,
) -> Result<(), tokio_postgres::Error> {
    let all = transaction
        .bind(
            "SELECT correlation_id FROM audit_chain_heads UNION SELECT correlation_id FROM audit_log_leaves
             UNION SELECT correlation_id FROM audit_events UNION SELECT correlation_id FROM audit_chain_gaps",
            &[],
        )
        .await?;
    loop {
        let rows = transaction.query_portal(&all, CHAINS).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in &rows {
            one_chain(transaction, row.get(0), trust, verified).await?;
        }
    }
}

/// Whether anything of the chain is stored.
async fn one_chain(
    transaction: &Transaction<'_>,
    correlation_id: &str,
    trust: &Trust,
    verified: &mut Verified,
) -> Result<bool, tokio_postgres::Error> {
    let Some(chain) = chains::verify_in(transaction, correlation_id, trust).await? else {
        return Ok(false);
    };
    verified.chains += 1;
    verified.events += chain.total_events as u64;
    for TamperedEvent {
        kind,
        sequence,
        detail,
        ..
    } in &chain.tampered_events
    {
        verified.error(format!(
            "{correlation_id:?}, position {sequence}: {kind:?}: {detail}"
        ));
    }
    Ok(true)
}
