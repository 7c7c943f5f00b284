//! Legal holds.

use tlog::SignerKey;
use tokio_postgres::{Client, Row, Transaction};
use uuid::Uuid;

use crate::domain::event::Micros;
use crate::domain::log::Kind;
use crate::store::failure::is_duplicate;
use crate::store::log::{self, EnterError, Entry};

/// A hold on all events of a correlation, including future ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) hold_id: Uuid,
    pub(crate) correlation_id: String,
    pub(crate) reason: String,
    pub(crate) placed_by: String,
    pub(crate) placed_at: Micros,
    pub(crate) released_by: Option<String>,
    pub(crate) released_at: Option<Micros>,
    /// Whether an event of the correlation is stored.
    pub(crate) has_events: bool,
}

/// The result of a request for a hold.
#[derive(Debug)]
pub(crate) enum Placed {
    New(Hold),
    AlreadyHeld,
}

const COLUMNS: &str = "hold_id, correlation_id, reason, placed_by, placed_at, released_by, released_at, \
     EXISTS (SELECT 1 FROM audit_events AS event WHERE event.correlation_id = audit_legal_holds.correlation_id)";

fn read(row: &Row) -> Hold {
    Hold {
        hold_id: row.get(0),
        correlation_id: row.get(1),
        reason: row.get(2),
        placed_by: row.get(3),
        placed_at: row.get(4),
        released_by: row.get(5),
        released_at: row.get(6),
        has_events: row.get(7),
    }
}

/// Holds a correlation's events. The lock on the chain head orders this against retention and deletion: after the
/// response nothing of the chain can be deleted. A correlation without events is held for its future ones, which may
/// wait in the stream.
pub(crate) async fn place(
    client: &mut Client,
    correlation_id: &str,
    reason: &str,
    placed_by: &str,
    key: Option<&SignerKey>,
) -> Result<Placed, EnterError> {
    let transaction = client.transaction().await?;
    transaction
        .execute(
            "SELECT 1 FROM audit_chain_heads WHERE correlation_id = $1 FOR UPDATE",
            &[&correlation_id],
        )
        .await?;
    let sql = format!(
        "INSERT INTO audit_legal_holds (hold_id, correlation_id, reason, placed_by) VALUES ($1, $2, $3, $4)
         RETURNING {COLUMNS}"
    );
    match transaction
        .query_one(&sql, &[&Uuid::now_v7(), &correlation_id, &reason, &placed_by])
        .await
    {
        Ok(row) => {
            let hold = read(&row);
            enter(&transaction, &hold, "audit_hold_entry", key).await?;
            transaction.commit().await?;
            Ok(Placed::New(hold))
        }
        Err(error) if is_duplicate(&error) => Ok(Placed::AlreadyHeld),
        Err(error) => Err(error.into()),
    }
}

/// Enters the description that a function of the database has of a hold into the transparency log.
async fn enter(
    transaction: &Transaction<'_>,
    hold: &Hold,
    describe: &str,
    key: Option<&SignerKey>,
) -> Result<(), EnterError> {
    let sql = format!("SELECT {describe}(hold) FROM audit_legal_holds AS hold WHERE hold_id = $1");
    let entry = Entry {
        correlation_id: hold.correlation_id.clone(),
        first: 0,
        last: 0,
        description: transaction.query_one(&sql, &[&hold.hold_id]).await?.get(0),
    };
    log::enter(transaction, Kind::Hold, &[entry], key).await
}

/// Holds, newest first, at most 1,000; optionally with released ones.
pub(crate) async fn list(
    client: &Client,
    correlation_id: Option<&str>,
    released_too: bool,
) -> Result<Vec<Hold>, tokio_postgres::Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM audit_legal_holds
         WHERE ($1::text IS NULL OR correlation_id = $1) AND ($2 OR released_at IS NULL)
         ORDER BY placed_at DESC, hold_id DESC LIMIT 1000"
    );
    Ok(client
        .query(&sql, &[&correlation_id, &released_too])
        .await?
        .iter()
        .map(read)
        .collect())
}

/// Releases the hold on a correlation; `None` if there is none.
pub(crate) async fn release(
    client: &mut Client,
    correlation_id: &str,
    released_by: &str,
    key: Option<&SignerKey>,
) -> Result<Option<Hold>, EnterError> {
    let transaction = client.transaction().await?;
    let sql = format!(
        "UPDATE audit_legal_holds SET released_by = $2, released_at = now()
         WHERE correlation_id = $1 AND released_at IS NULL RETURNING {COLUMNS}"
    );
    let Some(row) = transaction
        .query_opt(&sql, &[&correlation_id, &released_by])
        .await?
    else {
        return Ok(None);
    };
    let hold = read(&row);
    enter(&transaction, &hold, "audit_release_entry", key).await?;
    transaction.commit().await?;
    Ok(Some(hold))
}
