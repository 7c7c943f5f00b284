//! An event as it is kept: its content and its place in its chain.

use serde_json::Value;

use super::canonical::canonical;
use super::event::{Event, Hash, Sealed};
use super::time::Micros;

/// An event and its place in its chain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// Its data is the text that PostgreSQL makes of it, which is not canonical.
    pub(crate) event: Event,
    pub(crate) sequence: i64,
    pub(crate) recorded_at: Micros,
    pub(crate) previous_hash: Hash,
    pub(crate) event_hash: Hash,
    pub(crate) chain_key: Option<String>,
}

/// An event's place in its chain, and what proves it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) sequence: i64,
    pub(crate) recorded_at: Micros,
    pub(crate) previous_hash: Hash,
    pub(crate) event_hash: Hash,
    /// Names the HMAC key; `None` for plain SHA-256.
    pub(crate) chain_key: Option<String>,
}

impl Stored {
    /// The event as it was sealed, its data made canonical again, and its place.
    pub(crate) fn seal_again(self) -> (Sealed, Place) {
        let Self {
            event,
            sequence,
            recorded_at,
            previous_hash,
            event_hash,
            chain_key,
        } = self;
        // JSONB gives JSON; were it not, the hash would not fit, which is what there is to say.
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
