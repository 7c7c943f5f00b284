//! All matching events, in the order of their chains, through a cursor.

use futures::TryStreamExt as _;
use tokio::sync::{mpsc, oneshot};

use crate::domain::query::Filter;
use crate::domain::stored::Stored;
use crate::store::database::Session;
use crate::store::events::{COLUMNS, Conditions, read};

/// An event to export.
pub(crate) type Exported = Stored;

/// Rows of one fetch; they are received one by one.
const ROWS: i32 = 200;

/// Sends every matching event, from one snapshot. Ends when the receiver is gone. `accepted` is notified when the
/// database has accepted the query.
pub(crate) async fn stream(
    mut session: Session,
    filter: &Filter,
    accepted: oneshot::Sender<()>,
    sender: &mpsc::Sender<Result<Exported, ()>>,
) -> Result<(), tokio_postgres::Error> {
    // The first fetch sorts everything; a client may pause between fetches.
    session
        .client
        .batch_execute("SET statement_timeout = '10min'; SET idle_in_transaction_session_timeout = '10min'")
        .await?;
    let conditions = Conditions::of(filter);
    let sql = format!(
        "SELECT {COLUMNS} FROM audit_events{} ORDER BY correlation_id, sequence",
        conditions.to_sql()
    );
    let transaction = session.client.build_transaction().read_only(true).start().await?;
    let portal = transaction.bind(&sql, &conditions.parameters()).await?;
    // The receiver may be gone.
    let _ = accepted.send(());
    loop {
        let mut rows = std::pin::pin!(transaction.query_portal_raw(&portal, ROWS).await?);
        let mut is_empty = true;
        while let Some(row) = rows.try_next().await? {
            is_empty = false;
            if sender.send(Ok(read(&row)?)).await.is_err() {
                return Ok(());
            }
        }
        if is_empty {
            return Ok(());
        }
    }
}
