//! A stored event without its content: what verification keeps in memory.

use uuid::Uuid;

use crate::domain::chain::{Keys, link};
use crate::domain::event::{Event, Hash};
use crate::domain::stored::{DataSeal, Place};
use crate::domain::time::Micros;

/// The part of a stored event that verification needs: its data need not stay in memory.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) event_id: Uuid,
    pub(crate) sequence: i64,
    pub(crate) previous_hash: Hash,
    pub(crate) event_hash: Hash,
    pub(crate) recorded_at: Micros,
    /// Why its own hash does not match; `None` if it does.
    pub(crate) flaw: Option<&'static str>,
    pub(crate) keyed: bool,
    /// Whether its key is configured here.
    pub(crate) is_verifiable: bool,
    /// Whether its data was erased.
    pub(crate) is_erased: bool,
}

impl Link {
    /// Computes an event's hash again.
    pub(crate) fn of(event: &Event, data: DataSeal, place: &Place, keys: &Keys) -> Self {
        let Place {
            sequence,
            recorded_at,
            previous_hash,
            event_hash,
            ref chain_key,
        } = *place;
        let key = chain_key.as_deref().map(|id| keys.find(id));
        let flaw = match key {
            Some(None) => Some("the key with which it was stored is not configured here"),
            Some(Some(key)) if !key.is_valid_at(recorded_at) => Some(
                "its key was not in use at its time of storing (chain.hmac_key_start, end of a previous key)",
            ),
            Some(Some(_)) | None => {
                let hash = link(
                    key.flatten(),
                    &previous_hash,
                    sequence,
                    recorded_at,
                    &data.chained_hash(event),
                );
                (hash != event_hash)
                    .then_some("its content, position or time of storing differs from what was stored")
            }
        };
        Self {
            event_id: event.event_id,
            sequence,
            previous_hash,
            event_hash,
            recorded_at,
            flaw,
            keyed: chain_key.is_some(),
            is_verifiable: !matches!(key, Some(None)),
            is_erased: data.is_erased(),
        }
    }
}
