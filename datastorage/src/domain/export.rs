//! An export: events with their proofs, one per line, and a summary that proves that it is complete.

mod check;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use tlog::{Checkpoint, Note, SignerKey};

use super::chain::Key;
use super::event::Hash;
use super::stored::{DataSeal, Stored};

#[cfg(test)]
pub(crate) use check::Checked;
pub(crate) use check::check;

/// An event's place in the tree of the export's checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leaf {
    pub(crate) index: u64,
    /// The hashes of the inclusion proof, from the leaf's sibling up; `None` if the stored tree does not have them.
    pub(crate) proof: Option<Vec<Hash>>,
}

/// The first line of an export, if there is a signed checkpoint.
#[derive(Serialize)]
pub(crate) struct Header<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// The signed checkpoint (C2SP tlog-checkpoint) that has the events.
    checkpoint: &'a str,
}

impl<'a> Header<'a> {
    pub(crate) fn new(checkpoint: &'a str) -> Self {
        Self {
            kind: "checkpoint",
            checkpoint,
        }
    }
}

/// A line of an event.
#[derive(Serialize)]
pub(crate) struct Line {
    #[serde(rename = "type")]
    kind: &'static str,
    /// The event's canonical content.
    event: Box<RawValue>,
    sequence: i64,
    /// Microseconds since 1970, as covered by the hash.
    recorded_at_micros: i64,
    previous_hash: String,
    /// SHA-256 of the event's content.
    content_hash: String,
    /// What the chain covers of the content. In format 1 it is `content_hash`, in format 2 the SHA-256 of the content
    /// with `event_data_hash`, the SHA-256 of salt and data, in the place of `event_data`.
    chained_hash: String,
    event_hash: String,
    /// Id of the HMAC key; null for plain SHA-256.
    chain_key: Option<String>,
    /// Null in hash format 1, and of erased data.
    data_salt: Option<String>,
    /// Of erased data, in the place of salt and data.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_data_hash: Option<String>,
    /// Index of its leaf in the checkpoint's tree; absent if it is not in it. The leaf's entry is 0x01 and `event_hash`.
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf_index: Option<u64>,
    /// Base64 hashes from the leaf's sibling up (RFC 6962, 2.1.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    inclusion_proof: Option<Vec<String>>,
}

impl Line {
    /// From a stored event.
    pub(crate) fn of(stored: Stored, leaf: Option<Leaf>) -> Result<Self, serde_json::Error> {
        let (event, data, place) = stored.parts();
        let (salt, data_hash) = match data {
            DataSeal::Plain => (None, None),
            DataSeal::Salted(salt) => (Some(salt), None),
            DataSeal::Erased(hash) => (None, Some(hash)),
        };
        let leaf_index = leaf.as_ref().map(|leaf| leaf.index);
        let proof = leaf.and_then(|leaf| leaf.proof);
        Ok(Self {
            kind: "event",
            event: RawValue::from_string(event.content())?,
            sequence: place.sequence,
            recorded_at_micros: place.recorded_at.0,
            previous_hash: hex::encode(place.previous_hash),
            content_hash: hex::encode(event.content_hash()),
            chained_hash: hex::encode(data.chained_hash(&event)),
            event_hash: hex::encode(place.event_hash),
            chain_key: place.chain_key,
            data_salt: salt.map(hex::encode),
            event_data_hash: data_hash.map(hex::encode),
            leaf_index,
            inclusion_proof: proof.map(|hashes| hashes.iter().map(|hash| STANDARD.encode(hash)).collect()),
        })
    }
}

/// The last line of an export.
#[derive(Serialize)]
pub(crate) struct Summary {
    #[serde(rename = "type")]
    kind: &'static str,
    /// The query string of the export.
    query: String,
    events: u64,
    /// SHA-256 of all lines before this one.
    sha256: String,
    /// The statement (see [`statement`]) as a signed note; null without a key of the transparency log.
    signed_statement: Option<String>,
    /// HMAC-SHA-256 of the statement, and the id of its key; null without an HMAC key of the chain.
    statement_mac: Option<String>,
    mac_key: Option<String>,
}

/// The text that proves an export: what was queried, how many events it has, their hash, and the tree that has them.
fn statement(query: &str, events: u64, sha256: &str, checkpoint: Option<&Checkpoint>) -> String {
    let tree = checkpoint.map_or_else(
        || "none".to_owned(),
        |checkpoint| format!("{} {}", checkpoint.size, STANDARD.encode(checkpoint.root)),
    );
    format!("kubernaut audit export\nquery {query}\nevents {events}\nsha256 {sha256}\ncheckpoint {tree}\n")
}

/// The keys that prove exports.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExportKeys {
    pub(crate) log: Option<Arc<SignerKey>>,
    pub(crate) chain: Option<Key>,
}

impl Summary {
    /// Proves an export with every available key.
    pub(crate) fn new(
        query: String,
        events: u64,
        sha256: String,
        checkpoint: Option<&Checkpoint>,
        keys: &ExportKeys,
    ) -> Result<Self, tlog::Error> {
        let statement = statement(&query, events, &sha256, checkpoint);
        let sign = |key: &Arc<SignerKey>| {
            let mut note = Note::new(statement.as_str())?;
            note.sign(key, 0)?;
            Ok(note.to_string())
        };
        Ok(Self {
            kind: "summary",
            query,
            events,
            sha256,
            signed_statement: keys.log.as_ref().map(sign).transpose()?,
            statement_mac: keys
                .chain
                .as_ref()
                .map(|key| hex::encode(key.mac(statement.as_bytes()))),
            mac_key: keys.chain.as_ref().map(|key| key.id().to_owned()),
        })
    }
}

#[cfg(test)]
mod tests;
