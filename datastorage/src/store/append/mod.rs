//! One transaction for a group of events: heads locked, ids looked up, chain computed, rows inserted, heads moved.
//!
//! It takes one round trip where the heads are cached, and two otherwise, whatever the number of events: queries
//! first, and everything else together with the COMMIT. Every statement of the last trip fails if its assumption is
//! wrong (a known id, a chain that another replica began or moved), and the COMMIT becomes a rollback; the next
//! attempt locks and queries.

mod columns;
mod heads;
mod placing;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::domain::chain::{self, Keys};
use crate::domain::event::{Hash, Micros, Sealed};
use crate::store::database::{Database, Session, SessionError};
use crate::store::failure::{Meaning, describe, is_duplicate, may_be_the_data, meaning};
use crate::store::partitions;
use crate::store::types::HashColumn;

use columns::{Columns, HeadColumns};
pub(crate) use heads::Ends;
use placing::{End, Head, Row, chain_unit, judge};

/// The verdict on one unit: a single event, or a batch, which is stored completely or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of its events are stored, now or before.
    Stored,
    /// Another event has the id of the one at `index`.
    Conflict { index: usize, event_id: Uuid },
    /// The one at `index` has a parent that is not stored.
    MissingParent { index: usize, parent: Uuid },
    /// The database rejects the data.
    Rejected(String),
}

/// PostgreSQL is unavailable; unanswered units must be stored elsewhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("PostgreSQL failed: {0}")]
    Failed(String),
    /// Perhaps because of the data ([`may_be_the_data`]).
    #[error("PostgreSQL failed: {0}")]
    Suspect(String),
    #[error("PostgreSQL did not respond within {} ms", .0.as_millis())]
    TimedOut(Duration),
}

impl From<tokio_postgres::Error> for Unavailable {
    fn from(error: tokio_postgres::Error) -> Self {
        if may_be_the_data(&error) {
            Self::Suspect(describe(&error))
        } else {
            Self::Failed(describe(&error))
        }
    }
}

/// Maximum retries of a group after conflicts with other transactions.
const MAX_CONFLICTS: usize = 10;

/// A session that appends.
#[derive(Debug)]
pub(crate) struct Appender {
    session: Session,
    ends: Ends,
    read_heads: Statement,
    lock_heads: Statement,
    find_ids: Statement,
    insert_ids: Statement,
    insert_events: Statement,
    insert_pending: Statement,
    insert_heads: Statement,
    move_heads: Statement,
}

const READ_HEADS: &str = "SELECT correlation_id, sequence, event_hash FROM audit_chain_heads
    WHERE correlation_id = ANY($1::text[])";
const LOCK_HEADS: &str = "SELECT correlation_id, sequence, event_hash FROM audit_chain_heads
    WHERE correlation_id = ANY($1::text[]) ORDER BY correlation_id FOR UPDATE";
const FIND_IDS: &str = "SELECT event_id, content_hash FROM audit_event_ids WHERE event_id = ANY($1::uuid[])";
const INSERT_IDS: &str = "INSERT INTO audit_event_ids (event_id, event_timestamp, content_hash)
    SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::bytea[])";
const INSERT_EVENTS: &str = "INSERT INTO audit_events (event_id, event_timestamp, version, event_type, event_category,
        event_action, event_outcome, correlation_id, event_data, actor_type, actor_id, resource_type, resource_id,
        parent_event_id, namespace, cluster_name, severity, duration_ms, error_code, error_message, retention_days,
        sequence, recorded_at, previous_hash, event_hash, chain_key, hash_format, data_salt)
    SELECT a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, $23::timestamptz, w, x, $26::text, 2, y
    FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::jsonb[], $10::text[], $11::text[], $12::text[], $13::text[], $14::uuid[], $15::text[], $16::text[],
        $17::text[], $18::int4[], $19::text[], $20::text[], $21::int4[], $22::int8[], $24::bytea[], $25::bytea[],
        $27::bytea[]) AS row(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y)";
const INSERT_PENDING: &str =
    "INSERT INTO audit_log_pending (kind, correlation_id, sequence, last_sequence, hash)
    SELECT 1, a, b, b, c FROM unnest($1::text[], $2::int8[], $3::bytea[]) AS row(a, b, c)";
const INSERT_HEADS: &str = "INSERT INTO audit_chain_heads (correlation_id, sequence, event_hash)
    SELECT * FROM unnest($1::text[], $2::int8[], $3::bytea[])";
const MOVE_HEADS: &str = "WITH moved AS (
        UPDATE audit_chain_heads AS head SET sequence = wanted.sequence, event_hash = wanted.hash
        FROM unnest($1::text[], $2::int8[], $3::bytea[], $4::int8[], $5::bytea[])
            AS wanted(correlation_id, sequence, hash, sequence_before, hash_before)
        WHERE head.correlation_id = wanted.correlation_id AND head.sequence = wanted.sequence_before
            AND head.event_hash = wanted.hash_before
        RETURNING 1)
    SELECT audit_expect_heads(count(*), cardinality($1::text[])) FROM moved";

/// The assumptions of an attempt, which fails if they are wrong.
#[derive(Clone, Copy)]
struct Trust {
    /// The cached heads are current.
    ends: bool,
    /// The ids are new.
    ids: bool,
}

impl Appender {
    pub(crate) async fn open(database: &Database, ends: Ends) -> Result<Self, Unavailable> {
        let session = database.session().await?;
        let limit = database.connect_timeout();
        tokio::time::timeout(limit, Self::prepare(session, ends))
            .await
            .map_err(|_| Unavailable::TimedOut(limit))?
    }

    async fn prepare(session: Session, ends: Ends) -> Result<Self, Unavailable> {
        let client = &session.client;
        // Plans are made once, perhaps while the tables are still empty: they must suit the full ones.
        client
            .batch_execute(
                "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
                 SET plan_cache_mode = force_generic_plan",
            )
            .await?;
        let (
            read_heads,
            lock_heads,
            find_ids,
            insert_ids,
            insert_events,
            insert_pending,
            insert_heads,
            move_heads,
        ) = futures::try_join!(
            client.prepare(READ_HEADS),
            client.prepare(LOCK_HEADS),
            client.prepare(FIND_IDS),
            client.prepare(INSERT_IDS),
            client.prepare(INSERT_EVENTS),
            client.prepare(INSERT_PENDING),
            client.prepare(INSERT_HEADS),
            client.prepare(MOVE_HEADS),
        )?;
        Ok(Self {
            ends,
            read_heads,
            lock_heads,
            find_ids,
            insert_ids,
            insert_events,
            insert_pending,
            insert_heads,
            move_heads,
            session,
        })
    }

    /// Whether the connection is known to be closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.session.client.is_closed()
    }

    /// The connection, for statements between groups.
    pub(crate) fn client(&self) -> &tokio_postgres::Client {
        &self.session.client
    }

    /// Appends each unit, splitting the group where the database rejects it, so that a rejected unit is rejected
    /// alone. `verdicts` is filled as far as PostgreSQL responded; after an error the rest is `None`.
    pub(crate) async fn append(
        &mut self,
        units: &[&[Sealed]],
        keys: &Keys,
        verdicts: &mut Vec<Option<Verdict>>,
    ) -> Result<(), Unavailable> {
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
                Err(reason) if end - start == 1 => verdicts[start] = Some(Verdict::Rejected(reason)),
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

    /// Appends the units in one transaction; `Err` inside of `Ok` is the reason for which the database rejects one.
    async fn append_whole(
        &mut self,
        units: &[&[Sealed]],
        keys: &Keys,
    ) -> Result<Result<Vec<Verdict>, String>, Unavailable> {
        let mut conflicts = 0;
        let mut partitions_made = false;
        let mut trust = Trust {
            ends: self.ends.may_be_trusted(),
            ids: true,
        };
        loop {
            let error = match self.transaction(units, keys, trust).await {
                Ok(verdicts) => return Ok(Ok(verdicts)),
                Err(error) => error,
            };
            let meaning = meaning(&error);
            // In any case the next attempt queries.
            let moved = trust.ends && matches!(meaning, Meaning::Conflict) && !is_duplicate(&error);
            self.ends.forget(&correlations_of(units), moved);
            trust.ends = false;
            if is_duplicate(&error) {
                trust.ids = false;
            }
            match meaning {
                Meaning::Conflict if conflicts < MAX_CONFLICTS => conflicts += 1,
                Meaning::NoPartition if !partitions_made => {
                    partitions_made = true;
                    self.make_partitions(units).await?;
                }
                Meaning::Rejected | Meaning::NoPartition => return Ok(Err(describe(&error))),
                // The same key repeatedly is not a race: a row exists that the table of ids does not have.
                Meaning::Conflict if is_duplicate(&error) => return Ok(Err(describe(&error))),
                Meaning::Conflict | Meaning::Unavailable => return Err(error.into()),
            }
        }
    }

    async fn make_partitions(&self, units: &[&[Sealed]]) -> Result<(), Unavailable> {
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
        trust: Trust,
    ) -> Result<Vec<Verdict>, tokio_postgres::Error> {
        let correlations = correlations_of(units);
        let ids: Vec<Uuid> = units
            .iter()
            .flat_map(|unit| unit.iter())
            .flat_map(|sealed| {
                let own = (!trust.ids).then_some(sealed.event.event_id);
                [own, sealed.event.parent_event_id]
            })
            .flatten()
            .collect();
        let (mut heads, unknown) = if trust.ends {
            self.ends.look_up(&correlations)
        } else {
            (HashMap::new(), correlations)
        };
        let mut known = self.ask(&unknown, &ids, !trust.ends, &mut heads).await?;
        // After the locks: the times of a chain follow its sequence.
        let now = Micros::now();
        let mut rows = Vec::with_capacity(units.iter().map(|unit| unit.len()).sum());
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
            if !trust.ends {
                self.session.client.batch_execute("ROLLBACK").await?;
            }
            return Ok(verdicts);
        }
        self.write(&rows, &heads, keys, now, trust).await?;
        self.ends.update(&heads);
        Ok(verdicts)
    }

    /// Adds the heads of these chains to `heads`, with or without locks, and returns the stored ids with the
    /// hashes of their contents. With locks it begins the transaction.
    async fn ask<'a>(
        &self,
        correlations: &[&'a str],
        ids: &[Uuid],
        lock: bool,
        heads: &mut HashMap<&'a str, Head>,
    ) -> Result<HashMap<Uuid, Hash>, tokio_postgres::Error> {
        let client = &self.session.client;
        let head_parameters: [&(dyn ToSql + Sync); 1] = [&correlations];
        let id_parameters: [&(dyn ToSql + Sync); 1] = [&ids];
        let (begun, ends, known) = futures::join!(
            async {
                if lock {
                    client.batch_execute("BEGIN").await
                } else {
                    Ok(())
                }
            },
            async {
                if lock {
                    client.query(&self.lock_heads, &head_parameters).await
                } else if correlations.is_empty() {
                    Ok(Vec::new())
                } else {
                    client.query(&self.read_heads, &head_parameters).await
                }
            },
            async {
                if ids.is_empty() {
                    Ok(Vec::new())
                } else {
                    client.query(&self.find_ids, &id_parameters).await
                }
            },
        );
        let (ends, known) = match (begun, ends, known) {
            (Ok(()), Ok(ends), Ok(known)) => (ends, known),
            (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => {
                return Err(self.give_up(error).await);
            }
        };
        heads.extend(
            correlations
                .iter()
                .map(|correlation| (*correlation, Head::at(None))),
        );
        for row in &ends {
            if let Some(head) = heads.get_mut(row.get::<_, &str>(0)) {
                *head = Head::at(Some(End {
                    sequence: row.get(1),
                    hash: row.get::<_, HashColumn>(2).0,
                }));
            }
        }
        Ok(known
            .iter()
            .map(|row| (row.get(0), row.get::<_, HashColumn>(1).0))
            .collect())
    }

    /// The last trip. Heads first: a transaction that waits for another's chain has written nothing yet.
    async fn write(
        &self,
        rows: &[Row<'_>],
        heads: &HashMap<&str, Head>,
        keys: &Keys,
        now: Micros,
        trust: Trust,
    ) -> Result<(), tokio_postgres::Error> {
        let client = &self.session.client;
        let columns = Columns::of(rows);
        let key = keys.at(now).map(chain::Key::id);
        let new = HeadColumns::of(heads, false);
        let moved = HeadColumns::of(heads, true);
        let id_parameters = columns.ids();
        let event_parameters = columns.events(&now, &key);
        let pending_parameters = columns.pending();
        let new_parameters = new.inserted();
        let moved_parameters = moved.moved();
        let (begun, inserted, updated, ids, events, pending, committed) = futures::join!(
            async {
                if trust.ends {
                    client.batch_execute("BEGIN").await
                } else {
                    Ok(())
                }
            },
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
            client.execute(&self.insert_ids, &id_parameters),
            client.execute(&self.insert_events, &event_parameters),
            client.execute(&self.insert_pending, &pending_parameters),
            client.batch_execute("COMMIT"),
        );
        begun?;
        inserted.and(updated).and(ids).and(events).and(pending)?;
        committed
    }

    /// Ends the transaction that a failed statement left; if that fails too, the connection is closed anyway.
    async fn give_up(&self, error: tokio_postgres::Error) -> tokio_postgres::Error {
        let _ = self.session.client.batch_execute("ROLLBACK").await;
        error
    }
}

/// The chains of these units, in the common order of locks.
fn correlations_of<'a>(units: &[&'a [Sealed]]) -> Vec<&'a str> {
    let correlations: BTreeSet<&str> = units
        .iter()
        .flat_map(|unit| unit.iter())
        .map(|sealed| sealed.event.correlation_id.as_str())
        .collect();
    correlations.into_iter().collect()
}
