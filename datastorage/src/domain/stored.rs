//! A stored event: its content and its position in its chain.

use super::canonical::{Numbers, canonical};
use super::event::{Event, Hash, Salt, Sealed};
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
    /// `None` in hash format 1.
    pub(crate) salt: Option<Salt>,
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
    /// The event as sealed, and its position.
    pub(crate) fn seal_again(self) -> (Sealed, Place) {
        let (event, salt, place) = self.parts();
        (Sealed::again(event, salt), place)
    }

    /// The event, its data made canonical again, and its position.
    pub(crate) fn parts(self) -> (Event, Option<Salt>, Place) {
        let Self {
            event,
            sequence,
            recorded_at,
            previous_hash,
            event_hash,
            chain_key,
            salt,
        } = self;
        let numbers = match salt {
            Some(_) => Numbers::Exact,
            None => Numbers::Verbatim,
        };
        // JSONB returns JSON; if it did not, the hash would not match, which is reported.
        let event_data = serde_json::from_str(&event.event_data)
            .ok()
            .and_then(|value| canonical(value, numbers).ok())
            .map_or_else(String::new, |data| data.text);
        let place = Place {
            sequence,
            recorded_at,
            previous_hash,
            event_hash,
            chain_key,
        };
        (Event { event_data, ..event }, salt, place)
    }
}
