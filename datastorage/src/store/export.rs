//! All matching events, in the order of their chains, through a cursor, with their places in the newest checkpoint.

use deadpool_postgres::Pool;
use futures::TryStreamExt as _;
use tlog::Checkpoint;
use tlog::prover::Prover;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::IsolationLevel;

use crate::domain::export::Leaf;
use crate::domain::query::Filter;
use crate::domain::stored::Stored;
use crate::store::database::Session;
use crate::store::events::{COLUMNS, Conditions, read};
use crate::store::log;

/// An event to export, and its leaf if the checkpoint has it.
pub(crate) type Exported = (Stored, Option<Leaf>);

/// The newest checkpoint, with its signatures.
pub(crate) type Signed = (Checkpoint, String);

/// Rows of one fetch; they are received one by one.
const ROWS: i32 = 200;

/// Tiles in memory, 16 KiB each: those of 65,000 consecutive leaves.
const TILES: usize = 256;

/// Position of an event's leaf. A superuser can add rows: the first one counts.
const LEAF: &str = "(SELECT min(leaf_index) FROM audit_log_leaves AS leaf WHERE kind = 1
    AND leaf.correlation_id = audit_events.correlation_id AND leaf.sequence = audit_events.sequence)";

/// Sends every matching event, from one snapshot. Ends when the receiver is gone. `accepted` receives the checkpoint when
/// the database has accepted the query. `tiles` are connections for the tree.
pub(crate) async fn stream(
    mut session: Session,
    tiles: &Pool,
    filter: &Filter,
    accepted: oneshot::Sender<Option<Signed>>,
    sender: &mpsc::Sender<Result<Exported, ()>>,
) -> Result<(), tokio_postgres::Error> {
    // The first fetch sorts everything; a client may pause between fetches.
    session
        .client
        .batch_execute("SET statement_timeout = '10min'; SET idle_in_transaction_session_timeout = '10min'")
        .await?;
    let conditions = Conditions::of(filter);
    let transaction = session
        .client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let checkpoint = log::checkpoint(&transaction).await?.and_then(parse);
    let mut prover = checkpoint
        .as_ref()
        .and_then(|(checkpoint, _)| Prover::new(checkpoint.size, TILES).ok());
    let leaf = if prover.is_some() { LEAF } else { "NULL::int8" };
    let sql = format!(
        "SELECT {COLUMNS}, {leaf} AS leaf_index FROM audit_events{} ORDER BY correlation_id, sequence",
        conditions.to_sql()
    );
    let portal = transaction.bind(&sql, &conditions.parameters()).await?;
    // The receiver may be gone.
    let _ = accepted.send(checkpoint);
    loop {
        let mut rows = std::pin::pin!(transaction.query_portal_raw(&portal, ROWS).await?);
        let mut is_empty = true;
        while let Some(row) = rows.try_next().await? {
            is_empty = false;
            let index = row.try_get::<_, Option<i64>>("leaf_index")?;
            let leaf = match (&mut prover, index.and_then(|index| u64::try_from(index).ok())) {
                (Some(prover), Some(index)) if index < prover.size() => Some(Leaf {
                    index,
                    proof: prove(prover, tiles, index).await,
                }),
                _ => None,
            };
            if sender.send(Ok((read(&row)?, leaf))).await.is_err() {
                return Ok(());
            }
        }
        if is_empty {
            return Ok(());
        }
    }
}

fn parse(note: String) -> Option<Signed> {
    let checkpoint = tlog::Note::from_bytes(note.as_bytes()).and_then(|parsed| parsed.text().parse());
    match checkpoint {
        Ok(checkpoint) => Some((checkpoint, note)),
        Err(error) => {
            tracing::error!(%error, "the stored checkpoint is invalid");
            None
        }
    }
}

/// The inclusion proof of a leaf; `None` if the stored tree does not have it, which the verification of the export
/// reports.
async fn prove(prover: &mut Prover, tiles: &Pool, index: u64) -> Option<Vec<tlog::Hash>> {
    let proof = async {
        let missing = prover.missing(index)?;
        if !missing.is_empty() {
            let client = tiles.get().await?;
            for tile in missing {
                let client: &tokio_postgres::Client = &client;
                let hashes = log::tile(client, tile.level().into(), tile.index()).await?;
                prover.insert(tile, &hashes.unwrap_or_default())?;
            }
        }
        Ok::<_, anyhow::Error>(prover.inclusion(index)?)
    };
    proof
        .await
        .inspect_err(|error| tracing::warn!(index, %error, "an exported event cannot be proved"))
        .ok()
}
