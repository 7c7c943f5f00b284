//! Erases the data of events: the salted hash of the data stays, and its record in the transparency log.

use tlog::SignerKey;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::domain::event::Micros;
use crate::domain::log::Kind;
use crate::store::events::{self, COLUMNS};
use crate::store::log::{self, EnterError, Entry};
use crate::store::types::HashColumn;

/// The result of an erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Erased {
    Now,
    Before,
    /// A legal hold keeps it.
    Held,
    /// Its hash covers the data itself, as of everything stored in format 1.
    Unsalted,
    NoEvent,
}

/// Erases the data of an event. The lock of the chain head orders this against a hold that is being placed.
pub(crate) async fn erase(
    client: &mut Client,
    event_id: Uuid,
    reason: &str,
    erased_by: &str,
    key: Option<&SignerKey>,
) -> Result<Erased, EnterError> {
    let transaction = client.transaction().await?;
    let found = format!(
        "SELECT {COLUMNS} FROM audit_events WHERE event_id = $1
         AND event_timestamp = (SELECT event_timestamp FROM audit_event_ids WHERE event_id = $1)"
    );
    let Some(row) = transaction.query_opt(&found, &[&event_id]).await? else {
        return Ok(Erased::NoEvent);
    };
    let (event, data, place) = events::read(&row)?.parts();
    let Some(data_hash) = data.hash_if_erased(&event) else {
        return Ok(if data.is_erased() {
            Erased::Before
        } else {
            Erased::Unsalted
        });
    };
    let correlation_id = &event.correlation_id;
    let lock = "SELECT 1 FROM audit_chain_heads WHERE correlation_id = $1 FOR UPDATE";
    transaction.execute(lock, &[correlation_id]).await?;
    let held = "SELECT 1 FROM audit_legal_holds WHERE correlation_id = $1 AND released_at IS NULL";
    if transaction.query_opt(held, &[correlation_id]).await?.is_some() {
        return Ok(Erased::Held);
    }
    let changed = transaction
        .execute(
            "UPDATE audit_events SET event_data = '{}', data_salt = NULL, event_data_hash = $3
             WHERE event_id = $1 AND event_timestamp = $2 AND event_data_hash IS NULL",
            &[&event_id, &event.event_timestamp, &HashColumn(data_hash)],
        )
        .await?;
    if changed == 0 {
        return Ok(Erased::Before);
    }
    // Data with few possible values could be guessed from its hash without a salt. A repeat of the event conflicts now.
    let forget =
        "UPDATE audit_event_ids SET content_hash = sha256(uuid_send(gen_random_uuid())) WHERE event_id = $1";
    transaction.execute(forget, &[&event_id]).await?;
    let entry = Entry {
        correlation_id: correlation_id.clone(),
        first: place.sequence,
        last: place.sequence,
        description: format!(
            "erasure\n{event_id}\n{correlation_id}\n{}\n{erased_by}\n{}\n{reason}",
            place.sequence,
            Micros::now().0
        ),
    };
    log::enter(&transaction, Kind::Erasure, &[entry], key).await?;
    transaction.commit().await?;
    Ok(Erased::Now)
}
