//! Queries of events.

use futures::TryStreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, RowStream};
use uuid::Uuid;

use crate::domain::event::Event;
use crate::domain::query::{Cursor, Filter, PageRequest, Start};
use crate::domain::stored::{DataSeal, Stored};
use crate::store::types::HashColumn;
use wire::audit::{EventCategory, EventOutcome};

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) total: i64,
    pub(crate) total_is_exact: bool,
    pub(crate) next: Option<Cursor>,
}

/// The columns, in the order of [`read`].
pub(crate) const COLUMNS: &str = "event_id, event_timestamp, version, event_type, event_category, event_action, \
     event_outcome, correlation_id, event_data::text, actor_type, actor_id, resource_type, resource_id, \
     parent_event_id, namespace, cluster_name, severity, duration_ms, error_code, error_message, retention_days, \
     sequence, recorded_at, previous_hash, event_hash, chain_key, data_salt, event_data_hash";

/// Reads a row of [`COLUMNS`].
pub(crate) fn read(row: &Row) -> Result<Stored, tokio_postgres::Error> {
    // Constraints of the table exclude other names; a row with one is shown, not hidden.
    let category = EventCategory::from_name(row.try_get(4)?).unwrap_or(EventCategory::Orchestration);
    let outcome = EventOutcome::from_name(row.try_get(6)?).unwrap_or(EventOutcome::Pending);
    Ok(Stored {
        event: Event {
            event_id: row.try_get(0)?,
            event_timestamp: row.try_get(1)?,
            version: row.try_get(2)?,
            event_type: row.try_get(3)?,
            event_category: category,
            event_action: row.try_get(5)?,
            event_outcome: outcome,
            correlation_id: row.try_get(7)?,
            event_data: row.try_get(8)?,
            actor_type: row.try_get(9)?,
            actor_id: row.try_get(10)?,
            resource_type: row.try_get(11)?,
            resource_id: row.try_get(12)?,
            parent_event_id: row.try_get(13)?,
            namespace: row.try_get(14)?,
            cluster_name: row.try_get(15)?,
            severity: row.try_get(16)?,
            duration_ms: row.try_get(17)?,
            error_code: row.try_get(18)?,
            error_message: row.try_get(19)?,
            retention_days: row.try_get(20)?,
        },
        sequence: row.try_get(21)?,
        recorded_at: row.try_get(22)?,
        previous_hash: row.try_get::<_, HashColumn>(23)?.0,
        event_hash: row.try_get::<_, HashColumn>(24)?.0,
        chain_key: row.try_get(25)?,
        // The lengths are constraints of the columns.
        data: DataSeal::new(
            row.try_get::<_, Option<&[u8]>>(26)?
                .and_then(|salt| salt.try_into().ok()),
            row.try_get::<_, Option<HashColumn>>(27)?.map(|hash| hash.0),
        ),
    })
}

type Parameter = Box<dyn ToSql + Sync + Send>;

/// Conditions with their bound parameters.
#[derive(Default)]
pub(crate) struct Conditions {
    sql: Vec<String>,
    parameters: Vec<Parameter>,
}

impl Conditions {
    pub(crate) fn of(filter: &Filter) -> Self {
        let mut conditions = Self::default();
        let Filter {
            correlation_id,
            event_type,
            event_category,
            event_outcome,
            severity,
            since,
            until,
            detail,
        } = filter;
        for (column, value) in [
            ("correlation_id", correlation_id.clone()),
            ("event_type", event_type.clone()),
            (
                "event_category",
                event_category.map(|category| category.as_str().to_owned()),
            ),
            (
                "event_outcome",
                event_outcome.map(|outcome| outcome.as_str().to_owned()),
            ),
            ("severity", severity.clone()),
        ] {
            if let Some(value) = value {
                let number = conditions.bind(value);
                conditions.sql.push(format!("{column} = ${number}"));
            }
        }
        if let Some(since) = since {
            let number = conditions.bind(*since);
            conditions.sql.push(format!("event_timestamp >= ${number}"));
        }
        if let Some(until) = until {
            let number = conditions.bind(*until);
            conditions.sql.push(format!("event_timestamp <= ${number}"));
        }
        if let Some(detail) = detail {
            let number = conditions.bind(detail.documents());
            conditions
                .sql
                .push(format!("event_data @> ANY (${number}::text[]::jsonb[])"));
        }
        conditions
    }

    pub(crate) fn bind(&mut self, value: impl ToSql + Sync + Send + 'static) -> usize {
        self.parameters.push(Box::new(value));
        self.parameters.len()
    }

    fn after(&mut self, cursor: Cursor) {
        let time = self.bind(cursor.time);
        let id = self.bind(cursor.event_id);
        self.sql
            .push(format!("(event_timestamp, event_id) < (${time}, ${id})"));
    }

    pub(crate) fn to_sql(&self) -> String {
        if self.sql.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.sql.join(" AND "))
        }
    }

    pub(crate) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.parameters
            .iter()
            .map(|parameter| parameter.as_ref() as &(dyn ToSql + Sync))
            .collect()
    }
}

/// Rows that are requested at once in a long page: a page that ends early leaves few behind.
const PORTION: i64 = 64;

/// A page, newest first, and the total number (counted up to `count_limit`). Each row of [`COLUMNS`] is passed to
/// `accept` as it arrives, so that a page is never in memory as rows; the page ends before the row that is not accepted.
///
/// Most lists end with their first page, which gives their number; only others are counted.
pub(crate) async fn page<E: From<tokio_postgres::Error>>(
    client: &mut deadpool_postgres::Client,
    request: &PageRequest,
    count_limit: i64,
    accept: impl FnMut(&Row) -> Result<bool, E>,
) -> Result<Page, E> {
    let PageRequest { filter, limit, start } = request;
    let mut chosen = Conditions::of(filter);
    let offset = match start {
        Start::Offset(offset) => *offset,
        Start::After(cursor) => {
            chosen.after(*cursor);
            0
        }
    };
    let conditions = chosen.to_sql();
    // One more than requested shows whether there is a next page.
    let limit_number = chosen.bind(limit + 1);
    let offset_number = chosen.bind(offset);
    let sql = format!(
        "SELECT {COLUMNS} FROM audit_events{conditions} ORDER BY event_timestamp DESC, event_id DESC \
         LIMIT ${limit_number} OFFSET ${offset_number}"
    );
    let mut rows = Taken {
        wanted: *limit,
        number: 0,
        last: None,
        has_more: false,
        accept,
    };
    let statement = client.prepare_cached(&sql).await?;
    let parameters = chosen.parameters();
    if *limit <= PORTION {
        let parameters = parameters.iter().map(|parameter| *parameter as &dyn ToSql);
        rows.take(client.query_raw(&statement, parameters).await?).await?;
    } else {
        let transaction = client.build_transaction().read_only(true).start().await?;
        let portal = transaction.bind(&statement, &parameters).await?;
        let mut rest = limit + 1;
        while rest > 0 {
            let portion = rest.min(PORTION);
            let size = i32::try_from(portion).unwrap_or(i32::MAX);
            let found = rows
                .take(transaction.query_portal_raw(&portal, size).await?)
                .await?;
            if found < portion {
                break;
            }
            rest -= portion;
        }
    }
    let Taken {
        number,
        last,
        has_more,
        ..
    } = rows;
    let counted = match start {
        Start::Offset(offset) if !has_more && (*offset == 0 || number > 0) => offset.saturating_add(number),
        _ => count(client, filter, count_limit).await?,
    };
    Ok(Page {
        total: counted.min(count_limit),
        total_is_exact: counted <= count_limit,
        next: last.filter(|_| has_more),
    })
}

/// The rows that a page has so far.
struct Taken<A> {
    wanted: i64,
    number: i64,
    last: Option<Cursor>,
    has_more: bool,
    accept: A,
}

impl<A> Taken<A> {
    /// Takes rows until the page ends; returns their number. Rows that are left are read and dropped by the connection.
    async fn take<E>(&mut self, rows: RowStream) -> Result<i64, E>
    where
        E: From<tokio_postgres::Error>,
        A: FnMut(&Row) -> Result<bool, E>,
    {
        let mut rows = std::pin::pin!(rows);
        let mut found = 0;
        while let Some(row) = rows.try_next().await? {
            if self.number == self.wanted || !(self.accept)(&row)? {
                self.has_more = true;
                break;
            }
            self.last = Some(Cursor {
                time: row.try_get(1)?,
                event_id: row.try_get(0)?,
            });
            self.number += 1;
            found += 1;
        }
        Ok(found)
    }
}

/// The number of events, counted up to one more than `count_limit`.
async fn count(
    client: &deadpool_postgres::Client,
    filter: &Filter,
    count_limit: i64,
) -> Result<i64, tokio_postgres::Error> {
    let mut counted = Conditions::of(filter);
    let max = counted.bind(count_limit + 1);
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM audit_events{} LIMIT ${max}) AS found",
        counted.to_sql()
    );
    let statement = client.prepare_cached(&sql).await?;
    Ok(client.query_one(&statement, &counted.parameters()).await?.get(0))
}

/// The row of one event, of [`COLUMNS`].
pub(crate) async fn get(client: &Client, event_id: Uuid) -> Result<Option<Row>, tokio_postgres::Error> {
    // The time from the table of ids selects the partition.
    let sql = format!(
        "SELECT {COLUMNS} FROM audit_events WHERE event_id = $1 \
         AND event_timestamp = (SELECT event_timestamp FROM audit_event_ids WHERE event_id = $1)"
    );
    client.query_opt(&sql, &[&event_id]).await
}
