//! One transaction for a group of events: heads locked, ids looked up, chain computed, rows inserted, heads moved.
//!
//! It takes two round trips, whatever the number of events: what must be known first, and everything else with the
//! COMMIT behind it. Every statement of the second trip fails where its assumption does not hold (an id or a chain
//! that somebody else began meanwhile), and then the COMMIT behind it is a rollback.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::domain::chain::{self, GENESIS, Keys};
use crate::domain::event::{Hash, Micros, Sealed};
use crate::store::database::{Database, Session, SessionError};
use crate::store::failure::{Meaning, describe, is_duplicate, meaning};
use crate::store::partitions;
use crate::store::types::{HashColumn, Json};

/// What became of one unit: a single event, or a batch, which is stored whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of its events are stored, now or before.
    Stored,
    /// Another event has the id of the one at `index`.
    Conflict { index: usize, event_id: Uuid },
    /// The one at `index` names a parent that is not stored.
    MissingParent { index: usize, parent: Uuid },
    /// The database refuses the data.
    Refused(String),
}

/// PostgreSQL can't take events now; what was not answered is to be kept elsewhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Away {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("PostgreSQL failed: {0}")]
    Failed(String),
    #[error("PostgreSQL did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
}

impl From<tokio_postgres::Error> for Away {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(describe(&error))
    }
}

/// How often a group is tried again when other transactions are in its way.
const MOST_CONFLICTS: usize = 10;

/// A session that appends.
#[derive(Debug)]
pub(crate) struct Appender {
    session: Session,
    lock_heads: Statement,
    find_ids: Statement,
    insert_ids: Statement,
    insert_events: Statement,
    insert_heads: Statement,
    move_heads: Statement,
}

const LOCK_HEADS: &str = "SELECT correlation_id, sequence, event_hash FROM audit_chain_heads
    WHERE correlation_id = ANY($1::text[]) ORDER BY correlation_id FOR UPDATE";
const FIND_IDS: &str = "SELECT event_id, content_hash FROM audit_event_ids WHERE event_id = ANY($1::uuid[])";
const INSERT_IDS: &str = "INSERT INTO audit_event_ids (event_id, event_timestamp, content_hash)
    SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::bytea[])";
const INSERT_EVENTS: &str = "INSERT INTO audit_events (event_id, event_timestamp, version, event_type, event_category,
        event_action, event_outcome, correlation_id, event_data, actor_type, actor_id, resource_type, resource_id,
        parent_event_id, namespace, cluster_name, severity, duration_ms, error_code, error_message, retention_days,
        sequence, recorded_at, previous_hash, event_hash, chain_key)
    SELECT a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, $23::timestamptz, w, x, $26::text
    FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::jsonb[], $10::text[], $11::text[], $12::text[], $13::text[], $14::uuid[], $15::text[], $16::text[],
        $17::text[], $18::int4[], $19::text[], $20::text[], $21::int4[], $22::int8[], $24::bytea[], $25::bytea[])
        AS row(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x)";
const INSERT_HEADS: &str = "INSERT INTO audit_chain_heads (correlation_id, sequence, event_hash)
    SELECT * FROM unnest($1::text[], $2::int8[], $3::bytea[])";
const MOVE_HEADS: &str =
    "UPDATE audit_chain_heads AS head SET sequence = moved.sequence, event_hash = moved.hash
    FROM unnest($1::text[], $2::int8[], $3::bytea[]) AS moved(correlation_id, sequence, hash)
    WHERE head.correlation_id = moved.correlation_id";

/// Where a chain stands while a group is computed.
struct Head {
    sequence: i64,
    hash: Hash,
    exists: bool,
    moved: bool,
}

/// A new row.
struct Row<'a> {
    sealed: &'a Sealed,
    sequence: i64,
    previous: Hash,
    hash: Hash,
}

impl Appender {
    pub(crate) async fn open(database: &Database) -> Result<Self, Away> {
        let session = database.session().await?;
        let limit = database.connect_timeout();
        tokio::time::timeout(limit, Self::prepare(session))
            .await
            .map_err(|_| Away::TimedOut(limit))?
    }

    async fn prepare(session: Session) -> Result<Self, Away> {
        let client = &session.client;
        // The plans are made once, perhaps while the tables are still empty: they must fit the full ones.
        client
            .batch_execute(
                "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
                 SET plan_cache_mode = force_generic_plan",
            )
            .await?;
        let (lock_heads, find_ids, insert_ids, insert_events, insert_heads, move_heads) = futures::try_join!(
            client.prepare(LOCK_HEADS),
            client.prepare(FIND_IDS),
            client.prepare(INSERT_IDS),
            client.prepare(INSERT_EVENTS),
            client.prepare(INSERT_HEADS),
            client.prepare(MOVE_HEADS),
        )?;
        Ok(Self {
            lock_heads,
            find_ids,
            insert_ids,
            insert_events,
            insert_heads,
            move_heads,
            session,
        })
    }

    /// Whether the connection is known to be gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.session.client.is_closed()
    }

    /// The connection, for statements between groups.
    pub(crate) fn client(&self) -> &tokio_postgres::Client {
        &self.session.client
    }

    /// Appends each unit, dividing the group where the database refuses it, so that a unit that it refuses is refused
    /// alone. `verdicts` is filled as far as PostgreSQL answered; after an error the rest is `None`.
    pub(crate) async fn append(
        &mut self,
        units: &[&[Sealed]],
        keys: &Keys,
        verdicts: &mut Vec<Option<Verdict>>,
    ) -> Result<(), Away> {
        verdicts.clear();
        verdicts.resize(units.len(), None);
        let mut parts = vec![(0, units.len())];
        while let Some((start, end)) = parts.pop() {
            match self.append_whole(&units[start..end], keys).await? {
                Ok(stored) => {
                    for (verdict, found) in verdicts[start..end].iter_mut().zip(stored) {
                        *verdict = Some(found);
                    }
                }
                Err(reason) if end - start == 1 => verdicts[start] = Some(Verdict::Refused(reason)),
                Err(_) => {
                    let middle = start + (end - start) / 2;
                    // The first half is next: units stay in their order.
                    parts.push((middle, end));
                    parts.push((start, middle));
                }
            }
        }
        Ok(())
    }

    /// Appends the units in one transaction; `Err` inside of `Ok` tells why the database refuses one of them.
    async fn append_whole(
        &mut self,
        units: &[&[Sealed]],
        keys: &Keys,
    ) -> Result<Result<Vec<Verdict>, String>, Away> {
        let mut conflicts = 0;
        let mut partitions_made = false;
        loop {
            let error = match self.transaction(units, keys).await {
                Ok(verdicts) => return Ok(Ok(verdicts)),
                Err(error) => error,
            };
            match meaning(&error) {
                Meaning::Conflict if conflicts < MOST_CONFLICTS => conflicts += 1,
                Meaning::NoPartition if !partitions_made => {
                    partitions_made = true;
                    self.make_partitions(units).await?;
                }
                Meaning::Refused | Meaning::NoPartition => return Ok(Err(describe(&error))),
                // The same key again and again is no race: a row is there that the table of ids does not know of.
                Meaning::Conflict if is_duplicate(&error) => return Ok(Err(describe(&error))),
                Meaning::Conflict | Meaning::Unavailable => return Err(error.into()),
            }
        }
    }

    async fn make_partitions(&self, units: &[&[Sealed]]) -> Result<(), Away> {
        let months: BTreeSet<_> = units
            .iter()
            .flat_map(|unit| unit.iter())
            .map(|sealed| partitions::month_of(sealed.event.event_timestamp))
            .collect();
        let months: Vec<_> = months.into_iter().collect();
        partitions::ensure(&self.session.client, &months).await?;
        Ok(())
    }

    async fn transaction(
        &self,
        units: &[&[Sealed]],
        keys: &Keys,
    ) -> Result<Vec<Verdict>, tokio_postgres::Error> {
        let client = &self.session.client;
        let correlations: BTreeSet<&str> = units
            .iter()
            .flat_map(|unit| unit.iter())
            .map(|sealed| sealed.event.correlation_id.as_str())
            .collect();
        let correlations: Vec<&str> = correlations.into_iter().collect();
        let ids: Vec<Uuid> = units
            .iter()
            .flat_map(|unit| unit.iter())
            .flat_map(|sealed| [Some(sealed.event.event_id), sealed.event.parent_event_id])
            .flatten()
            .collect();
        let lock_parameters: [&(dyn ToSql + Sync); 1] = [&correlations];
        let id_parameters: [&(dyn ToSql + Sync); 1] = [&ids];
        let (begun, heads, known) = futures::join!(
            client.batch_execute("BEGIN"),
            client.query(&self.lock_heads, &lock_parameters),
            client.query(&self.find_ids, &id_parameters),
        );
        let (heads, known) = match (begun, heads, known) {
            (Ok(()), Ok(heads), Ok(known)) => (heads, known),
            (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => {
                return Err(self.give_up(error).await);
            }
        };
        let mut heads: HashMap<&str, Head> = read_heads(&correlations, &heads);
        let mut known: HashMap<Uuid, Hash> = known
            .iter()
            .map(|row| (row.get(0), row.get::<_, HashColumn>(1).0))
            .collect();
        // After the locks: the times of a chain follow its sequence.
        let now = Micros::now();
        let mut rows = Vec::with_capacity(ids.len());
        let verdicts = units
            .iter()
            .map(|unit| {
                let verdict = judge(unit, &known);
                if verdict == Verdict::Stored {
                    chain_unit(unit, keys, now, &mut known, &mut heads, &mut rows);
                }
                verdict
            })
            .collect();
        if rows.is_empty() {
            client.batch_execute("ROLLBACK").await?;
            return Ok(verdicts);
        }
        self.write(&rows, &heads, keys, now).await?;
        Ok(verdicts)
    }

    /// The second trip.
    async fn write(
        &self,
        rows: &[Row<'_>],
        heads: &HashMap<&str, Head>,
        keys: &Keys,
        now: Micros,
    ) -> Result<(), tokio_postgres::Error> {
        let client = &self.session.client;
        let columns = Columns::of(rows);
        let key = keys.current.as_ref().map(chain::Key::id);
        let new = HeadColumns::of(heads, false);
        let moved = HeadColumns::of(heads, true);
        let id_parameters = columns.ids();
        let event_parameters = columns.events(&now, &key);
        let new_parameters = new.parameters();
        let moved_parameters = moved.parameters();
        let (ids, events, inserted, updated, committed) = futures::join!(
            client.execute(&self.insert_ids, &id_parameters),
            client.execute(&self.insert_events, &event_parameters),
            async {
                if new.is_empty() {
                    Ok(0)
                } else {
                    client.execute(&self.insert_heads, &new_parameters).await
                }
            },
            async {
                if moved.is_empty() {
                    Ok(0)
                } else {
                    client.execute(&self.move_heads, &moved_parameters).await
                }
            },
            client.batch_execute("COMMIT"),
        );
        ids.and(events).and(inserted).and(updated)?;
        committed
    }

    /// Ends the transaction that a failed statement left; if that fails too, the connection is gone anyway.
    async fn give_up(&self, error: tokio_postgres::Error) -> tokio_postgres::Error {
        let _ = self.session.client.batch_execute("ROLLBACK").await;
        error
    }
}

fn read_heads<'a>(correlations: &[&'a str], rows: &[tokio_postgres::Row]) -> HashMap<&'a str, Head> {
    let mut heads: HashMap<&str, Head> = correlations
        .iter()
        .map(|correlation| {
            (
                *correlation,
                Head {
                    sequence: 0,
                    hash: GENESIS,
                    exists: false,
                    moved: false,
                },
            )
        })
        .collect();
    for row in rows {
        if let Some(head) = heads.get_mut(row.get::<_, &str>(0)) {
            *head = Head {
                sequence: row.get(1),
                hash: row.get::<_, HashColumn>(2).0,
                exists: true,
                moved: false,
            };
        }
    }
    heads
}

/// Whether a unit can be stored: no id of it is another event's, every parent is there.
fn judge(unit: &[Sealed], known: &HashMap<Uuid, Hash>) -> Verdict {
    let mut of_unit: HashMap<Uuid, Hash> = HashMap::new();
    for (index, sealed) in unit.iter().enumerate() {
        let event_id = sealed.event.event_id;
        if let Some(parent) = sealed.event.parent_event_id
            && !known.contains_key(&parent)
            && !of_unit.contains_key(&parent)
        {
            return Verdict::MissingParent { index, parent };
        }
        let first = known.get(&event_id).or_else(|| of_unit.get(&event_id));
        if first.is_some_and(|first| *first != sealed.content_hash) {
            return Verdict::Conflict { index, event_id };
        }
        of_unit.insert(event_id, sealed.content_hash);
    }
    Verdict::Stored
}

/// Gives the events of a unit that are not yet stored their places in their chains.
fn chain_unit<'a>(
    unit: &'a [Sealed],
    keys: &Keys,
    now: Micros,
    known: &mut HashMap<Uuid, Hash>,
    heads: &mut HashMap<&str, Head>,
    rows: &mut Vec<Row<'a>>,
) {
    for sealed in unit {
        if known.insert(sealed.event.event_id, sealed.content_hash).is_some() {
            continue;
        }
        if let Some(head) = heads.get_mut(sealed.event.correlation_id.as_str()) {
            let previous = head.hash;
            head.sequence += 1;
            head.hash = chain::link(
                keys.current.as_ref(),
                &previous,
                head.sequence,
                now,
                &sealed.content_hash,
            );
            head.moved = true;
            rows.push(Row {
                sealed,
                sequence: head.sequence,
                previous,
                hash: head.hash,
            });
        }
    }
}

/// The rows as columns, as `unnest` takes them.
struct Columns<'a> {
    event_id: Vec<Uuid>,
    event_timestamp: Vec<Micros>,
    content_hash: Vec<HashColumn>,
    version: Vec<&'a str>,
    event_type: Vec<&'a str>,
    event_category: Vec<&'a str>,
    event_action: Vec<&'a str>,
    event_outcome: Vec<&'a str>,
    correlation_id: Vec<&'a str>,
    event_data: Vec<Json<'a>>,
    actor_type: Vec<Option<&'a str>>,
    actor_id: Vec<Option<&'a str>>,
    resource_type: Vec<Option<&'a str>>,
    resource_id: Vec<Option<&'a str>>,
    parent_event_id: Vec<Option<Uuid>>,
    namespace: Vec<Option<&'a str>>,
    cluster_name: Vec<Option<&'a str>>,
    severity: Vec<Option<&'a str>>,
    duration_ms: Vec<Option<i32>>,
    error_code: Vec<Option<&'a str>>,
    error_message: Vec<Option<&'a str>>,
    retention_days: Vec<Option<i32>>,
    sequence: Vec<i64>,
    previous_hash: Vec<HashColumn>,
    event_hash: Vec<HashColumn>,
}

impl<'a> Columns<'a> {
    fn of(rows: &[Row<'a>]) -> Self {
        fn each<'a, T>(rows: &[Row<'a>], value: impl Fn(&'a Sealed) -> T) -> Vec<T> {
            rows.iter().map(|row| value(row.sealed)).collect()
        }
        Self {
            event_id: each(rows, |sealed| sealed.event.event_id),
            event_timestamp: each(rows, |sealed| sealed.event.event_timestamp),
            content_hash: each(rows, |sealed| HashColumn(sealed.content_hash)),
            version: each(rows, |sealed| sealed.event.version.as_str()),
            event_type: each(rows, |sealed| sealed.event.event_type.as_str()),
            event_category: each(rows, |sealed| sealed.event.event_category.as_str()),
            event_action: each(rows, |sealed| sealed.event.event_action.as_str()),
            event_outcome: each(rows, |sealed| sealed.event.event_outcome.as_str()),
            correlation_id: each(rows, |sealed| sealed.event.correlation_id.as_str()),
            event_data: each(rows, |sealed| Json(&sealed.event.event_data)),
            actor_type: each(rows, |sealed| sealed.event.actor_type.as_deref()),
            actor_id: each(rows, |sealed| sealed.event.actor_id.as_deref()),
            resource_type: each(rows, |sealed| sealed.event.resource_type.as_deref()),
            resource_id: each(rows, |sealed| sealed.event.resource_id.as_deref()),
            parent_event_id: each(rows, |sealed| sealed.event.parent_event_id),
            namespace: each(rows, |sealed| sealed.event.namespace.as_deref()),
            cluster_name: each(rows, |sealed| sealed.event.cluster_name.as_deref()),
            severity: each(rows, |sealed| sealed.event.severity.as_deref()),
            duration_ms: each(rows, |sealed| sealed.event.duration_ms),
            error_code: each(rows, |sealed| sealed.event.error_code.as_deref()),
            error_message: each(rows, |sealed| sealed.event.error_message.as_deref()),
            retention_days: each(rows, |sealed| sealed.event.retention_days),
            sequence: rows.iter().map(|row| row.sequence).collect(),
            previous_hash: rows.iter().map(|row| HashColumn(row.previous)).collect(),
            event_hash: rows.iter().map(|row| HashColumn(row.hash)).collect(),
        }
    }

    fn ids(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.event_id, &self.event_timestamp, &self.content_hash]
    }

    fn events<'b>(&'b self, now: &'b Micros, key: &'b Option<&str>) -> [&'b (dyn ToSql + Sync); 26] {
        [
            &self.event_id,
            &self.event_timestamp,
            &self.version,
            &self.event_type,
            &self.event_category,
            &self.event_action,
            &self.event_outcome,
            &self.correlation_id,
            &self.event_data,
            &self.actor_type,
            &self.actor_id,
            &self.resource_type,
            &self.resource_id,
            &self.parent_event_id,
            &self.namespace,
            &self.cluster_name,
            &self.severity,
            &self.duration_ms,
            &self.error_code,
            &self.error_message,
            &self.retention_days,
            &self.sequence,
            now,
            &self.previous_hash,
            &self.event_hash,
            key,
        ]
    }
}

/// Heads as columns.
struct HeadColumns<'a> {
    correlation_id: Vec<&'a str>,
    sequence: Vec<i64>,
    hash: Vec<HashColumn>,
}

impl<'a> HeadColumns<'a> {
    /// Those that moved and were there before, or were not; in order, as all who write them at once must take them.
    fn of(heads: &HashMap<&'a str, Head>, existed: bool) -> Self {
        let mut chosen: Vec<(&&str, &Head)> = heads
            .iter()
            .filter(|(_, head)| head.moved && head.exists == existed)
            .collect();
        chosen.sort_by_key(|(correlation, _)| **correlation);
        Self {
            correlation_id: chosen.iter().map(|(correlation, _)| **correlation).collect(),
            sequence: chosen.iter().map(|(_, head)| head.sequence).collect(),
            hash: chosen.iter().map(|(_, head)| HashColumn(head.hash)).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.correlation_id.is_empty()
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.correlation_id, &self.sequence, &self.hash]
    }
}
