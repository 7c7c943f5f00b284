//! The leaves of chains.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tlog::VerifierKey;
use tokio_postgres::{GenericClient, Row};

use crate::domain::event::Hash;
use crate::domain::log::{ChainLog, Kind, Leaf};
use crate::domain::tree::TILE;
use crate::store::types::HashColumn;

/// Tiles of leaf hashes that were read last.
#[derive(Default)]
pub(crate) struct LeafTiles(HashMap<u64, Vec<u8>>);

impl LeafTiles {
    /// Maximum number, of 8 KiB each.
    const MAX: usize = 512;
    /// Maximum number that is read at once.
    const AT_ONCE: usize = 256;

    /// Reads those of `indexes` that it does not have.
    async fn read(
        &mut self,
        client: &impl GenericClient,
        indexes: &BTreeSet<u64>,
    ) -> Result<(), tokio_postgres::Error> {
        if self.0.len() + indexes.len() > Self::MAX {
            self.0.retain(|index, _| indexes.contains(index));
        }
        let missing: Vec<i64> = indexes
            .iter()
            .filter(|index| !self.0.contains_key(index))
            .filter_map(|index| i64::try_from(*index).ok())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let sql = "SELECT tile_index, hashes FROM audit_log_tiles WHERE level = 0 AND tile_index = ANY($1)";
        for row in client.query(sql, &[&missing]).await? {
            self.0.insert(index_of(&row), row.get(1));
        }
        Ok(())
    }

    fn hash(&self, leaf: u64) -> Option<Hash> {
        let offset = usize::try_from(leaf % TILE).ok()? * 32;
        self.0
            .get(&(leaf / TILE))?
            .get(offset..offset + 32)?
            .try_into()
            .ok()
    }
}

/// The leaves of chains, and those that wait for their places.
pub(crate) async fn chains(
    client: &impl GenericClient,
    correlation_ids: &[String],
    key: Option<&VerifierKey>,
    tiles: &mut LeafTiles,
) -> Result<BTreeMap<String, ChainLog>, tokio_postgres::Error> {
    let placed = client
        .query(
            "SELECT leaf_index, kind, sequence, last_sequence, entry, correlation_id FROM audit_log_leaves
             WHERE correlation_id = ANY($1) ORDER BY leaf_index",
            &[&correlation_ids],
        )
        .await?;
    let mut leaves: BTreeMap<String, Vec<Leaf>> = BTreeMap::new();
    // A long chain may have leaves in any number of tiles.
    let mut rest = placed.as_slice();
    while !rest.is_empty() {
        let mut places = BTreeSet::new();
        let end = rest.iter().position(|row| {
            let place = index_of(row) / TILE;
            let is_too_many = places.len() == LeafTiles::AT_ONCE && !places.contains(&place);
            if !is_too_many {
                places.insert(place);
            }
            is_too_many
        });
        let end = end.unwrap_or(rest.len());
        tiles.read(client, &places).await?;
        for row in &rest[..end] {
            if let (Some(kind), Some(leaf_hash)) = (Kind::from_number(row.get(1)), tiles.hash(index_of(row)))
            {
                leaves.entry(row.get(5)).or_default().push(Leaf {
                    kind,
                    sequence: row.get(2),
                    last_sequence: row.get(3),
                    leaf_hash,
                    entry: row.get(4),
                });
            }
        }
        rest = &rest[end..];
    }
    let waiting = client
        .query(
            "SELECT kind, sequence, last_sequence, hash, entry, correlation_id FROM audit_log_pending
             WHERE correlation_id = ANY($1)",
            &[&correlation_ids],
        )
        .await?;
    for row in &waiting {
        if let Some(kind) = Kind::from_number(row.get(0)) {
            leaves.entry(row.get(5)).or_default().push(Leaf {
                kind,
                sequence: row.get(1),
                last_sequence: row.get(2),
                leaf_hash: kind.leaf_hash(&row.get::<_, HashColumn>(3).0),
                entry: row.get(4),
            });
        }
    }
    let logs = leaves.into_iter();
    Ok(logs
        .map(|(correlation_id, leaves)| (correlation_id, ChainLog::new(leaves, key)))
        .collect())
}

fn index_of(row: &Row) -> u64 {
    u64::try_from(row.get::<_, i64>(0)).unwrap_or(u64::MAX)
}

/// The leaves of a chain's events, by position.
pub(crate) async fn places(
    client: &impl GenericClient,
    correlation_id: &str,
    sequences: &[i64],
) -> Result<BTreeMap<i64, u64>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT min(leaf_index), sequence FROM audit_log_leaves
             WHERE correlation_id = $1 AND sequence = ANY($2) AND kind = 1 GROUP BY sequence",
            &[&correlation_id, &sequences],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(1), index_of(row))).collect())
}
