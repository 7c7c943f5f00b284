//! The chain of a correlation's events: each event's hash covers the one before it.
//!
//! Events are in the order of storing, not of their timestamps: an event that arrives late is normal, and must not
//! look like tampering.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::event::Hash;
use super::time::Micros;

/// The hash before the first event of a chain.
pub(crate) const GENESIS: Hash = [0; 32];

/// Maximum difference between the clocks of two replicas, in microseconds: around the start and end of a key both sides
/// are accepted.
const SKEW: i64 = 5 * 60 * 1_000_000;

/// Time in microseconds for which the replicas of a rolling update may have different keys.
const ROLLOUT: i64 = 60 * 60 * 1_000_000;

/// The time in which a key is used for writing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Period {
    pub(crate) start: Option<Micros>,
    pub(crate) end: Option<Micros>,
}

impl Period {
    fn contains(self, time: Micros, skew: i64) -> bool {
        self.start
            .is_none_or(|start| time.0 >= start.0.saturating_sub(skew))
            && self.end.is_none_or(|end| time.0 < end.0.saturating_add(skew))
    }
}

/// An HMAC key: without it nobody can forge a chain that verifies, not even a writer of the database.
#[derive(Clone)]
pub(crate) struct Key {
    id: String,
    secret: Vec<u8>,
    period: Period,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl Key {
    pub(crate) fn new(secret: Vec<u8>, period: Period) -> Self {
        // Identifies the key without revealing anything of it.
        let mut fingerprint = Sha256::new();
        fingerprint.update(b"kubernaut audit chain key");
        fingerprint.update(&secret);
        Self {
            id: hex::encode(&fingerprint.finalize()[..8]),
            secret,
            period,
        }
    }

    /// 16 hex digits, stored with each event.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// HMAC-SHA-256 of a message.
    pub(crate) fn mac(&self, message: &[u8]) -> Hash {
        // HMAC has keys of any length.
        Hmac::<Sha256>::new_from_slice(&self.secret).map_or_else(
            |_| GENESIS,
            |mac| mac.chain_update(message).finalize().into_bytes().into(),
        )
    }

    /// Whether an event stored at that time can have this key.
    pub(crate) fn is_valid_at(&self, recorded_at: Micros) -> bool {
        self.period.contains(recorded_at, SKEW)
    }
}

/// The keys of this service, the newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(pub(crate) Vec<Key>);

impl Keys {
    /// The key with which an event is stored at that time.
    pub(crate) fn at(&self, now: Micros) -> Option<&Key> {
        self.0.iter().find(|key| key.period.contains(now, 0))
    }

    /// The key with that id, if configured.
    pub(crate) fn find(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }

    /// Whether an event stored at that time must have a key, in a chain whose first one with a key was stored at
    /// `first_keyed`.
    pub(crate) fn required_at(&self, recorded_at: Micros, first_keyed: Option<Micros>) -> bool {
        let starts = self.0.iter().filter_map(|key| key.period.start);
        let required = match (starts.min(), first_keyed) {
            (Some(start), _) => start.0.saturating_add(SKEW),
            // Replicas without the key write to the same chains until the update is complete.
            (None, Some(first)) => first.0.saturating_add(ROLLOUT),
            (None, None) => return false,
        };
        recorded_at.0 >= required
    }
}

/// Whether a key that is not configured here can be that of a replica which already has the next configuration.
pub(crate) fn may_be_of_next_rollout(recorded_at: Micros, now: Micros) -> bool {
    now.0.saturating_sub(recorded_at.0) < ROLLOUT
}

/// The hash of the event at `sequence` (from 1) of a chain: SHA-256, or HMAC-SHA-256 with a key, over the previous
/// hash, the position, the time of storing and the hash of the content.
pub(crate) fn link(
    key: Option<&Key>,
    previous: &Hash,
    sequence: i64,
    recorded_at: Micros,
    content_hash: &Hash,
) -> Hash {
    let mut message = [0_u8; 80];
    message[..32].copy_from_slice(previous);
    message[32..40].copy_from_slice(&sequence.to_be_bytes());
    message[40..48].copy_from_slice(&recorded_at.0.to_be_bytes());
    message[48..].copy_from_slice(content_hash);
    match key {
        Some(key) => key.mac(&message),
        None => Sha256::digest(message).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_can_be_computed_with_standard_tools() {
        // printf of 32 zero bytes, 1 and 2 as 8 bytes each, 32 bytes of 07, through sha256sum.
        let hash = link(None, &GENESIS, 1, Micros(2), &[7; 32]);
        let mut message = vec![0; 32];
        message.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        message.extend([7; 32]);
        assert_eq!(hash, <Hash>::from(Sha256::digest(&message)));
    }

    #[test]
    fn every_input_changes_the_link() {
        let key = Key::new(b"secret".to_vec(), Period::default());
        let base = link(None, &GENESIS, 1, Micros(2), &[7; 32]);
        let others = [
            link(None, &[1; 32], 1, Micros(2), &[7; 32]),
            link(None, &GENESIS, 2, Micros(2), &[7; 32]),
            link(None, &GENESIS, 1, Micros(3), &[7; 32]),
            link(None, &GENESIS, 1, Micros(2), &[8; 32]),
            link(Some(&key), &GENESIS, 1, Micros(2), &[7; 32]),
            link(
                Some(&Key::new(b"other".to_vec(), Period::default())),
                &GENESIS,
                1,
                Micros(2),
                &[7; 32],
            ),
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(*other, base, "{index}");
            assert_eq!(
                others.iter().filter(|again| *again == other).count(),
                1,
                "{index}"
            );
        }
    }

    #[test]
    fn key_ids_do_not_reveal_the_key() {
        let keys = Keys(
            ["new", "old"]
                .map(|secret| Key::new(secret.into(), Period::default()))
                .into(),
        );
        let old = keys.0[1].id().to_owned();
        assert_eq!(
            keys.find(&old).map(|key| key.secret.clone()),
            Some(b"old".to_vec())
        );
        assert!(keys.find("0000000000000000").is_none());
        assert!(!format!("{keys:?}").contains("old"));
    }

    #[test]
    fn key_is_used_from_its_start_to_its_end() {
        let time = |time: i64| Some(Micros(time));
        let key = |secret: &str, start, end| Key::new(secret.into(), Period { start, end });
        let keys = Keys(vec![
            key("next", time(200), None),
            key("current", time(100), None),
            key("first", None, time(100)),
        ]);
        for (now, secret) in [(99, "first"), (100, "current"), (199, "current"), (200, "next")] {
            let found = keys.at(Micros(now)).map(|key| key.secret.clone());
            assert_eq!(found, Some(secret.into()), "{now}");
        }
        let planned = Keys(vec![key("planned", time(100), None)]);
        assert!(planned.at(Micros(99)).is_none());
        assert!(planned.required_at(Micros(100 + SKEW), None));
        assert!(!planned.required_at(Micros(99 + SKEW), Some(Micros(0))));
        assert!(planned.0[0].is_valid_at(Micros(100 - SKEW)));
        assert!(!planned.0[0].is_valid_at(Micros(99 - SKEW)));
        assert!(!keys.0[2].is_valid_at(Micros(100 + SKEW)));
    }
}
