//! A stored event: its content and its position in its chain.

use super::canonical::{Numbers, canonical};
use super::event::{Event, Hash, Salt};
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
    pub(crate) data: DataSeal,
}

/// How the chain covers the event data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataSeal {
    /// As part of the content, in hash format 1.
    Plain,
    /// By its salted hash.
    Salted(Salt),
    /// By its salted hash; data and salt are erased.
    Erased(Hash),
}

impl DataSeal {
    /// From the columns `data_salt` and `event_data_hash`.
    pub(crate) fn new(salt: Option<Salt>, data_hash: Option<Hash>) -> Self {
        match (data_hash, salt) {
            (Some(hash), _) => Self::Erased(hash),
            (None, Some(salt)) => Self::Salted(salt),
            (None, None) => Self::Plain,
        }
    }

    pub(crate) fn is_erased(self) -> bool {
        matches!(self, Self::Erased(_))
    }

    pub(crate) fn numbers(self) -> Numbers {
        match self {
            Self::Plain => Numbers::Verbatim,
            Self::Salted(_) | Self::Erased(_) => Numbers::Exact,
        }
    }

    /// The hash that stays of an event's data when it is erased.
    pub(crate) fn hash_if_erased(self, event: &Event) -> Option<Hash> {
        match self {
            Self::Salted(salt) => Some(event.data_hash(&salt)),
            Self::Plain | Self::Erased(_) => None,
        }
    }

    /// What the chain covers of an event's content.
    pub(crate) fn chained_hash(self, event: &Event) -> Hash {
        match self {
            Self::Plain => event.content_hash(),
            Self::Salted(salt) => event.hash_with_data_hash(&event.data_hash(&salt)),
            Self::Erased(data_hash) => event.hash_with_data_hash(&data_hash),
        }
    }
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
    /// The event, its data made canonical again, and its position.
    pub(crate) fn parts(self) -> (Event, DataSeal, Place) {
        let Self {
            event,
            sequence,
            recorded_at,
            previous_hash,
            event_hash,
            chain_key,
            data,
        } = self;
        let numbers = data.numbers();
        // JSONB returns JSON; if it did not, the hash would not match, which is reported.
        let event_data = serde_json::from_str(&event.event_data)
            .ok()
            .and_then(|value| canonical(value, numbers).ok())
            .map_or_else(String::new, |canonical| canonical.text);
        let place = Place {
            sequence,
            recorded_at,
            previous_hash,
            event_hash,
            chain_key,
        };
        (Event { event_data, ..event }, data, place)
    }
}
