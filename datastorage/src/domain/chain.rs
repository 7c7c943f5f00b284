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

/// An HMAC key: without it nobody can forge a chain that verifies, not even a writer of the database.
#[derive(Clone)]
pub(crate) struct Key {
    id: String,
    secret: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl Key {
    pub(crate) fn new(secret: Vec<u8>) -> Self {
        // Identifies the key without revealing anything of it.
        let mut fingerprint = Sha256::new();
        fingerprint.update(b"kubernaut audit chain key");
        fingerprint.update(&secret);
        Self {
            id: hex::encode(&fingerprint.finalize()[..8]),
            secret,
        }
    }

    /// 16 hex digits, stored with each event.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

/// The keys of this service: the one for writing, and older ones for verification.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    pub(crate) current: Option<Key>,
    pub(crate) previous: Vec<Key>,
}

impl Keys {
    /// The key with that id, if configured.
    pub(crate) fn find(&self, id: &str) -> Option<&Key> {
        self.current.iter().chain(&self.previous).find(|key| key.id == id)
    }
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
    match key.and_then(|key| Hmac::<Sha256>::new_from_slice(&key.secret).ok()) {
        Some(mut mac) => {
            mac.update(&message);
            mac.finalize().into_bytes().into()
        }
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
        let key = Key::new(b"secret".to_vec());
        let base = link(None, &GENESIS, 1, Micros(2), &[7; 32]);
        let others = [
            link(None, &[1; 32], 1, Micros(2), &[7; 32]),
            link(None, &GENESIS, 2, Micros(2), &[7; 32]),
            link(None, &GENESIS, 1, Micros(3), &[7; 32]),
            link(None, &GENESIS, 1, Micros(2), &[8; 32]),
            link(Some(&key), &GENESIS, 1, Micros(2), &[7; 32]),
            link(
                Some(&Key::new(b"other".to_vec())),
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
        let keys = Keys {
            current: Some(Key::new(b"new".to_vec())),
            previous: vec![Key::new(b"old".to_vec())],
        };
        let old = Key::new(b"old".to_vec()).id().to_owned();
        assert_eq!(
            keys.find(&old).map(|key| key.secret.clone()),
            Some(b"old".to_vec())
        );
        assert!(keys.find("0000000000000000").is_none());
        assert!(!format!("{keys:?}").contains("old"));
    }
}
