//! The transparency log in the database: leaves, tiles, and what waits for its place.

mod leaves;

use std::collections::BTreeMap;

use tlog::{SignerKey, Tile, prove};
use tokio_postgres::{Client, GenericClient, Row, Transaction};
use uuid::Uuid;

use crate::domain::event::Hash;
use crate::domain::log::{Kind, sign};
use crate::domain::tree::{TILE, Tiles, level_sizes};
use crate::store::failure::describe;
use crate::store::types::HashColumn;

pub(crate) use leaves::{LeafTiles, chains, places};

/// Leaves of one transaction: their memory is bounded.
const LEAVES: i64 = 10_000;

/// Gives waiting leaves their places, unless another replica does; returns the number of leaves of the tree, and whether
/// more are waiting.
pub(crate) async fn integrate(client: &mut Client) -> Result<(u64, bool), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let Some(size) = transaction
        .query_opt("SELECT size FROM audit_log_size FOR UPDATE SKIP LOCKED", &[])
        .await?
        .map(|row| row.get::<_, i64>(0))
    else {
        return Ok((size(&transaction).await?, false));
    };
    let hashes: Vec<Hash> = transaction
        .query(PLACE, &[&LEAVES, &size])
        .await?
        .iter()
        .filter_map(|row| Some(Kind::from_number(row.get(0))?.leaf_hash(&row.get::<_, HashColumn>(1).0)))
        .collect();
    let more = hashes.len() >= usize::try_from(LEAVES).unwrap_or(usize::MAX);
    let before = u64::try_from(size).unwrap_or(0);
    if hashes.is_empty() {
        return Ok((before, false));
    }
    let mut tiles = last_tiles(&transaction, before).await?;
    let after = tiles.append(&hashes);
    write_tiles(&transaction, &tiles).await?;
    transaction
        .execute(
            "UPDATE audit_log_size SET size = $1",
            &[&i64::try_from(after).unwrap_or(i64::MAX)],
        )
        .await?;
    transaction.commit().await?;
    Ok((after, more))
}

/// Moves waiting leaves to their places; within one group chains are in their order.
const PLACE: &str = "WITH taken AS (
        DELETE FROM audit_log_pending WHERE ctid = ANY (ARRAY(SELECT ctid FROM audit_log_pending LIMIT $1::int8))
        RETURNING *),
    numbered AS (
        SELECT $2::int8 - 1 + row_number() OVER (ORDER BY correlation_id, sequence, kind) AS leaf_index, * FROM taken),
    placed AS (
        INSERT INTO audit_log_leaves (leaf_index, kind, correlation_id, sequence, last_sequence, entry)
        SELECT leaf_index, kind, correlation_id, sequence, last_sequence, entry FROM numbered)
    SELECT kind, hash FROM numbered ORDER BY leaf_index";

/// The number of leaves.
pub(crate) async fn size(client: &impl GenericClient) -> Result<u64, tokio_postgres::Error> {
    let row = client.query_one("SELECT size FROM audit_log_size", &[]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// The last tile of each level, to which a tree of this size grows.
async fn last_tiles(client: &impl GenericClient, size: u64) -> Result<Tiles, tokio_postgres::Error> {
    let mut tiles = Tiles::new(size);
    for (level, count) in level_sizes(size).enumerate() {
        if count % TILE != 0 {
            let hashes = tile(client, level, count / TILE).await?.unwrap_or_default();
            tiles.set_last(level, &hashes);
        }
    }
    Ok(tiles)
}

/// The hashes of a tile; `None` if it does not exist.
pub(crate) async fn tile(
    client: &impl GenericClient,
    level: usize,
    index: u64,
) -> Result<Option<Vec<u8>>, tokio_postgres::Error> {
    let level = i16::try_from(level).unwrap_or(i16::MAX);
    let index = i64::try_from(index).unwrap_or(i64::MAX);
    Ok(client
        .query_opt(
            "SELECT hashes FROM audit_log_tiles WHERE level = $1 AND tile_index = $2",
            &[&level, &index],
        )
        .await?
        .map(|row| row.get(0)))
}

async fn write_tiles(transaction: &Transaction<'_>, tiles: &Tiles) -> Result<(), tokio_postgres::Error> {
    let statement = transaction
        .prepare(
            "INSERT INTO audit_log_tiles (level, tile_index, hashes) VALUES ($1, $2, $3)
             ON CONFLICT (level, tile_index) DO UPDATE SET hashes = excluded.hashes",
        )
        .await?;
    for (level, index, hashes) in tiles.changed() {
        let level = i16::try_from(level).unwrap_or(i16::MAX);
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        transaction
            .execute(&statement, &[&level, &index, &hashes])
            .await?;
    }
    Ok(())
}

/// Why tiles do not give a root or a proof.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    #[error("{} is missing", .0)]
    Missing(Tile),
    #[error(transparent)]
    Invalid(#[from] tlog::Error),
    #[error("{}", describe(.0))]
    Postgresql(#[from] tokio_postgres::Error),
}

/// Reads a tile, or says that it has to be fetched first.
pub(crate) type ReadTile<'a> = &'a mut dyn FnMut(Tile) -> Result<Vec<u8>, TreeError>;

/// Computes something from tiles, fetching those that it reads.
async fn from_tiles<T>(
    client: &impl GenericClient,
    compute: impl Fn(ReadTile<'_>) -> Result<T, TreeError>,
) -> Result<T, TreeError> {
    let mut fetched: BTreeMap<(u8, u64), Vec<u8>> = BTreeMap::new();
    loop {
        let mut read = |wanted: Tile| {
            let found = fetched.get(&(wanted.level(), wanted.index()));
            found.cloned().ok_or(TreeError::Missing(wanted))
        };
        match compute(&mut read) {
            Err(TreeError::Missing(wanted)) => {
                let (level, index) = (wanted.level(), wanted.index());
                let hashes = tile(client, level.into(), index).await?;
                let known = fetched.insert((level, index), hashes.ok_or(TreeError::Missing(wanted))?);
                if known.is_some() {
                    return Err(TreeError::Missing(wanted));
                }
            }
            result => return result,
        }
    }
}

/// The root of the tree when it had `size` leaves.
pub(crate) async fn root(client: &impl GenericClient, size: u64) -> Result<Hash, TreeError> {
    from_tiles(client, |read| prove::root(size, read)).await
}

/// The proof that a leaf is in the tree of `size` leaves.
pub(crate) async fn inclusion(
    client: &impl GenericClient,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, TreeError> {
    from_tiles(client, |read| prove::inclusion(index, size, read)).await
}

/// The proof that a tree of `new` leaves extends that of `old` leaves.
pub(crate) async fn consistency(
    client: &impl GenericClient,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, TreeError> {
    from_tiles(client, |read| prove::consistency(old, new, read)).await
}

/// The leaf of an event, if it has its place.
pub(crate) async fn leaf_of(
    client: &impl GenericClient,
    event_id: Uuid,
) -> Result<Option<u64>, tokio_postgres::Error> {
    let row = client
        .query_opt(
            "SELECT min(leaf_index) FROM audit_events AS event JOIN audit_log_leaves USING (correlation_id, sequence)
             WHERE kind = 1 AND event_id = $1
                 AND event_timestamp = (SELECT event_timestamp FROM audit_event_ids WHERE event_id = $1)",
            &[&event_id],
        )
        .await?;
    Ok(row
        .and_then(|row| row.get::<_, Option<i64>>(0))
        .and_then(|index| u64::try_from(index).ok()))
}

/// A gap of retention, a hold, a release or an erasure, with its description.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) correlation_id: String,
    /// Positions of a gap or an erasure; 0 for a hold.
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) description: String,
}

impl Entry {
    /// From the columns of the same names.
    pub(crate) fn read(row: &Row) -> Self {
        Self {
            correlation_id: row.get(0),
            first: row.get(1),
            last: row.get(2),
            description: row.get(3),
        }
    }
}

/// Enters what is not an event, signed if there is a key.
pub(crate) async fn enter(
    transaction: &Transaction<'_>,
    kind: Kind,
    entries: &[Entry],
    key: Option<&SignerKey>,
) -> Result<(), EnterError> {
    let kind = if key.is_some() { kind.signed() } else { kind };
    let texts: Vec<String> = entries
        .iter()
        .map(|entry| match key {
            Some(key) => sign(&entry.description, key),
            None => Ok(entry.description.clone()),
        })
        .collect::<Result<_, _>>()?;
    let correlations: Vec<&str> = entries
        .iter()
        .map(|entry| entry.correlation_id.as_str())
        .collect();
    let first: Vec<i64> = entries.iter().map(|entry| entry.first).collect();
    let last: Vec<i64> = entries.iter().map(|entry| entry.last).collect();
    transaction
        .execute(
            "INSERT INTO audit_log_pending (kind, correlation_id, sequence, last_sequence, hash, entry)
             SELECT $1, correlation_id, first, last, sha256(convert_to(entry, 'UTF8')), entry
             FROM unnest($2::text[], $3::int8[], $4::int8[], $5::text[]) AS entered (correlation_id, first, last, entry)",
            &[&i16::from(kind.number()), &correlations, &first, &last, &texts],
        )
        .await?;
    Ok(())
}

/// Why entries are not entered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnterError {
    #[error("cannot sign an entry of the transparency log: {0}")]
    Sign(#[from] tlog::Error),
    #[error("{}", describe(.0))]
    Postgresql(#[from] tokio_postgres::Error),
}

/// Signs what was entered before the log had a key, when it signs its first checkpoint.
pub(crate) async fn sign_earlier(client: &mut Client, key: &SignerKey) -> Result<(), EnterError> {
    let transaction = client.transaction().await?;
    let columns = "correlation_id, sequence, last_sequence, entry";
    let earlier = format!(
        "SELECT {columns} FROM audit_log_leaves WHERE kind = $1
         UNION ALL SELECT {columns} FROM audit_log_pending WHERE kind = $1"
    );
    for kind in [Kind::Gap, Kind::Hold, Kind::Erasure] {
        let rows = transaction.query(&earlier, &[&i16::from(kind.number())]).await?;
        let entries: Vec<Entry> = rows.iter().map(Entry::read).collect();
        for entries in entries.chunks(ENTRIES) {
            enter(&transaction, kind, entries, Some(key)).await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}

/// Entries of one statement.
pub(crate) const ENTRIES: usize = 5_000;

/// Checkpoints that are kept for readers.
const CHECKPOINTS: i64 = 1000;

/// Keeps a signed checkpoint for readers, and forgets old ones.
pub(crate) async fn save_checkpoint(
    client: &impl GenericClient,
    size: u64,
    note: &str,
) -> Result<(), tokio_postgres::Error> {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    client
        .execute(
            "WITH old AS (
                 DELETE FROM audit_log_checkpoints WHERE size <
                     (SELECT size FROM audit_log_checkpoints ORDER BY size DESC OFFSET $3 LIMIT 1))
             INSERT INTO audit_log_checkpoints (size, note) VALUES ($1, $2) ON CONFLICT (size) DO NOTHING",
            &[&size, &note, &CHECKPOINTS],
        )
        .await?;
    Ok(())
}

/// The newest signed checkpoint.
pub(crate) async fn checkpoint(client: &impl GenericClient) -> Result<Option<String>, tokio_postgres::Error> {
    Ok(client
        .query_opt(
            "SELECT note FROM audit_log_checkpoints ORDER BY size DESC LIMIT 1",
            &[],
        )
        .await?
        .map(|row| row.get(0)))
}
