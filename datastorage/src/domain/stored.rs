//! A stored event: its content and its position in its chain.

use serde_json::Value;

use super::canonical::canonical;
use super::event::{Event, Hash, Sealed};
use super::time::Micros;

/// An event and its position in its chain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// Its data is PostgreSQL's text of it, which is not canonical.
    pub(crate) event: Event,
    pub(crate) sequence: i64,
    pub(crate) recorded_at: Micros,
    pub(crate) previous_hash: Hash,
    pub(crate) event_hash: Hash,
    pub(crate) chain_key: Option<String>,
}

/// An event's position in its chain, and its proof.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) sequence: i64,
    pub(crate) recorded_at: Micros,
    pub(crate) previous_hash: Hash,
    pub(crate) event_hash: Hash,
    /// Id of the HMAC key; `None` for plain SHA-256.
    pub(crate) chain_key: Option<String>,
}

impl Stored {
    /// The event as sealed, its data made canonical again, and its position.
    pub(crate) fn seal_again(self) -> (Sealed, Place) {
        let Self {
            event,
            sequence,
            recorded_at,
            previous_hash,
            event_hash,
            chain_key,
        } = self;
        // JSONB returns JSON; if it did not, the hash would not match, which is reported.
        let value = serde_json::from_str(&event.event_data).unwrap_or(Value::Null);
        let event_data = canonical(&value).text;
        let place = Place {
            sequence,
            recorded_at,
            previous_hash,
            event_hash,
            chain_key,
        };
        (Sealed::new(Event { event_data, ..event }), place)
    }
}
