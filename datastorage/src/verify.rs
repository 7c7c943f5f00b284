//! Verification of the whole database: `datastorage verify`, and periodically by the service.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use tlog::{Checkpoint, Frontier};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::domain::event::Hash;
use crate::domain::trust::Trust;
use crate::domain::verification::{ChainVerification, TamperedEvent};
use crate::store::chains;
use crate::store::database::{Database, Session};
use crate::store::log::{self, LeafTiles};

/// Maximum number of reported errors.
const MAX_ERRORS: usize = 1000;

/// Leaves after which progress is kept.
const WINDOW: u64 = 50_000;

/// Events of one batch of chains; a longer chain is a batch of its own.
const BATCH: i64 = 2_000;

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

    fn chain(&mut self, chain: &ChainVerification) {
        self.chains += 1;
        self.events += chain.total_events as u64;
        for TamperedEvent {
            kind,
            sequence,
            detail,
            ..
        } in &chain.tampered_events
        {
            self.error(format!(
                "{:?}, position {sequence}: {kind:?}: {detail}",
                chain.correlation_id
            ));
        }
    }

    fn add(&mut self, other: Self) {
        self.chains += other.chains;
        self.events += other.events;
        other.errors.into_iter().for_each(|error| self.error(error));
    }
}

/// What is verified, and how.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) trust: Arc<Trust>,
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// The chains; all if empty.
    pub(crate) correlation_ids: Vec<String>,
    /// Concurrent connections.
    pub(crate) workers: usize,
    /// Maximum events per second; `None`: no limit.
    pub(crate) max_rate: Option<u32>,
    /// File that has how far an interrupted verification came.
    pub(crate) progress: Option<PathBuf>,
}

/// Verifies tree, leaves and chains from one snapshot. Memory: one batch of chains for each worker.
///
/// # Errors
/// The database cannot be read.
pub(crate) async fn verify(database: &Database, scope: &Scope) -> anyhow::Result<Verified> {
    let session = database.session().await?;
    let client = &session.client;
    begin(client, None).await?;
    let mut verified = Verified {
        leaves: log::size(client).await?,
        ..Verified::default()
    };
    tree(client, &scope.checkpoints, &mut verified).await?;
    leaves(client, &mut verified).await?;
    let mut workers = Workers::open(database, client, scope).await?;
    if scope.correlation_ids.is_empty() {
        workers.whole_database(client, &mut verified).await?;
    } else {
        let batch = scope.correlation_ids.clone();
        workers.verify(vec![batch], &mut verified).await?;
        if verified.chains < scope.correlation_ids.len() as u64 {
            verified.error("nothing is stored of some of the correlations".to_owned());
        }
    }
    Ok(verified)
}

/// Begins a transaction that reads one snapshot, that of another one if it is given, for as long as it takes.
async fn begin(client: &Client, snapshot: Option<&str>) -> Result<(), tokio_postgres::Error> {
    let snapshot = snapshot.map(|snapshot| format!("; SET TRANSACTION SNAPSHOT '{snapshot}'"));
    client
        .batch_execute(&format!(
            "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
             BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{}",
            snapshot.unwrap_or_default()
        ))
        .await
}

/// A connection that reads the snapshot, and what it has read last.
struct Worker {
    session: Session,
    tiles: LeafTiles,
}

struct Workers<'a> {
    scope: &'a Scope,
    idle: Vec<Worker>,
    begun: Instant,
}

impl<'a> Workers<'a> {
    async fn open(database: &Database, leader: &Client, scope: &'a Scope) -> anyhow::Result<Self> {
        let snapshot: String = leader.query_one("SELECT pg_export_snapshot()", &[]).await?.get(0);
        let mut idle = Vec::new();
        for _ in 0..scope.workers.max(1) {
            let session = database.session().await?;
            begin(&session.client, Some(&snapshot)).await?;
            idle.push(Worker {
                session,
                tiles: LeafTiles::default(),
            });
        }
        Ok(Self {
            scope,
            idle,
            begun: Instant::now(),
        })
    }

    /// Verifies all chains in the order of their first leaves, since what was stored together is read together; then
    /// those without a leaf.
    async fn whole_database(&mut self, leader: &Client, verified: &mut Verified) -> anyhow::Result<()> {
        let mut first = self.resumed()?;
        while first < verified.leaves {
            let end = first + WINDOW;
            let sql = "SELECT leaf.correlation_id, coalesce(head.sequence, 0)
                 FROM audit_log_leaves AS leaf LEFT JOIN audit_chain_heads AS head USING (correlation_id)
                 WHERE leaf_index >= $1 AND leaf_index < $2 AND kind = 1 AND leaf.sequence = 1 ORDER BY leaf_index";
            let bounds = [i64::try_from(first)?, i64::try_from(end)?];
            let rows = leader.query(sql, &[&bounds[0], &bounds[1]]).await?;
            let chains = rows.iter().map(|row| (row.get(0), row.get(1)));
            self.verify(batches(chains), verified).await?;
            first = end;
            // What was found is found again by the next one.
            if verified.errors.is_empty() {
                self.keep(first)?;
            }
        }
        let sql = "SELECT correlation_id, 0::int8 FROM (
                 SELECT correlation_id FROM audit_chain_heads UNION SELECT correlation_id FROM audit_chain_gaps
                 UNION SELECT correlation_id FROM audit_log_pending UNION SELECT correlation_id FROM audit_log_leaves
                 UNION SELECT correlation_id FROM audit_legal_holds UNION SELECT correlation_id FROM audit_events) AS known
             WHERE NOT EXISTS (SELECT 1 FROM audit_log_leaves AS leaf
                 WHERE leaf.correlation_id = known.correlation_id AND leaf.sequence = 1 AND kind = 1)";
        let rows = leader.query(sql, &[]).await?;
        let chains = rows.iter().map(|row| (row.get(0), row.get(1)));
        self.verify(batches(chains), verified).await?;
        match &self.scope.progress {
            Some(file) => Ok(remove(file)?),
            None => Ok(()),
        }
    }

    /// Distributes batches among the workers.
    async fn verify(&mut self, batches: Vec<Vec<String>>, verified: &mut Verified) -> anyhow::Result<()> {
        let count = self.idle.len();
        let mut shares: Vec<Vec<Vec<String>>> = vec![Vec::new(); count];
        for (index, batch) in batches.into_iter().enumerate() {
            shares[index % count].push(batch);
        }
        let mut tasks = JoinSet::new();
        for (mut worker, share) in self.idle.drain(..).zip(shares) {
            let trust = Arc::clone(&self.scope.trust);
            tasks.spawn(async move {
                let mut part = Verified::default();
                for batch in share {
                    let client = &worker.session.client;
                    for chain in chains::verify_in(client, &batch, &trust, &mut worker.tiles).await? {
                        part.chain(&chain);
                    }
                }
                Ok::<_, tokio_postgres::Error>((worker, part))
            });
        }
        while let Some(result) = tasks.join_next().await {
            let (worker, part) = result??;
            self.idle.push(worker);
            verified.add(part);
        }
        if let Some(rate) = self.scope.max_rate {
            let due = Duration::from_secs_f64(verified.events as f64 / f64::from(rate));
            tokio::time::sleep(due.saturating_sub(self.begun.elapsed())).await;
        }
        Ok(())
    }

    /// The first leaf that an earlier verification did not reach.
    fn resumed(&self) -> anyhow::Result<u64> {
        let Some(file) = &self.scope.progress else {
            return Ok(0);
        };
        match fs::read_to_string(file) {
            Ok(text) => text.trim().parse().with_context(|| {
                format!(
                    "{} has no number of a leaf; remove it to begin again",
                    file.display()
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    fn keep(&self, leaf: u64) -> anyhow::Result<()> {
        match &self.scope.progress {
            Some(file) => fs::write(file, format!("{leaf}\n"))
                .with_context(|| format!("cannot write {}", file.display())),
            None => Ok(()),
        }
    }
}

fn remove(file: &PathBuf) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Groups chains, given with their lengths.
fn batches(chains: impl Iterator<Item = (String, i64)>) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut left = 0;
    for (correlation_id, length) in chains {
        // A chain costs some queries' rows even if it is empty.
        let cost = length.max(1);
        match batches.last_mut() {
            Some(batch) if cost <= left => batch.push(correlation_id),
            _ => {
                batches.push(vec![correlation_id]);
                left = BATCH;
            }
        }
        left -= cost;
    }
    batches
}

/// Builds the tree again from its leaf hashes, and compares it with each checkpoint at its size.
async fn tree(
    client: &Client,
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
    let mut rows = pin!(client.query_raw(tiles, std::iter::empty::<&str>()).await?);
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
async fn leaves(client: &Client, verified: &mut Verified) -> Result<(), tokio_postgres::Error> {
    let row = client
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
