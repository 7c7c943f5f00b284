//! An exported event with its proof, and the verification of an export without a database.

use std::collections::BTreeMap;
use std::io::BufRead;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::canonical::Numbers;
use super::chain::{Keys, link};
use super::event::{Event, Hash, Salt, Sealed};
use super::stored::Stored;
use super::time::Micros;

/// A line of an export.
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
    /// Null in hash format 1.
    data_salt: Option<String>,
}

impl Line {
    /// From a stored event.
    pub(crate) fn of(stored: Stored) -> Result<Self, serde_json::Error> {
        let (sealed, place) = stored.seal_again();
        Ok(Self {
            kind: "event",
            event: RawValue::from_string(sealed.event.content())?,
            sequence: place.sequence,
            recorded_at_micros: place.recorded_at.0,
            previous_hash: hex::encode(place.previous_hash),
            content_hash: hex::encode(sealed.content_hash),
            chained_hash: hex::encode(sealed.chained_hash),
            event_hash: hex::encode(place.event_hash),
            chain_key: place.chain_key,
            data_salt: sealed.salt.map(hex::encode),
        })
    }
}

/// The last line of an export.
#[derive(Serialize)]
pub(crate) struct Summary {
    #[serde(rename = "type")]
    kind: &'static str,
    events: u64,
    sha256: String,
}

impl Summary {
    pub(crate) fn new(events: u64, sha256: String) -> Self {
        Self {
            kind: "summary",
            events,
            sha256,
        }
    }
}

#[derive(Deserialize)]
struct ReadLine {
    #[serde(rename = "type")]
    kind: String,
    event: Option<Box<RawValue>>,
    #[serde(default)]
    sequence: i64,
    #[serde(default)]
    recorded_at_micros: i64,
    #[serde(default)]
    previous_hash: String,
    #[serde(default)]
    event_hash: String,
    chain_key: Option<String>,
    data_salt: Option<String>,
    #[serde(default)]
    events: u64,
    #[serde(default)]
    sha256: String,
}

/// The result of verifying an export.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) events: u64,
    pub(crate) chains: usize,
    /// Every error, with the line's number.
    pub(crate) errors: Vec<String>,
}

/// Verifies each event's hash, each link between consecutive events of a chain, and that the export is complete.
/// Memory: one hash per chain.
pub(crate) fn check(export: impl BufRead, keys: &Keys) -> std::io::Result<Checked> {
    let mut checked = Checked::default();
    let mut lines_hash = Sha256::new();
    let mut chains: BTreeMap<String, (i64, Hash)> = BTreeMap::new();
    let mut whole = false;
    for (index, line) in export.lines().enumerate() {
        let (line, number) = (line?, index + 1);
        if whole {
            checked
                .errors
                .push(format!("line {number}: it follows the summary"));
            break;
        }
        match serde_json::from_str::<ReadLine>(&line) {
            Ok(read) if read.kind == "summary" => {
                whole = true;
                if read.events != checked.events || read.sha256 != hex::encode(lines_hash.finalize_reset()) {
                    checked
                        .errors
                        .push(format!("line {number}: the summary does not match these lines"));
                }
            }
            Ok(read) => {
                checked.events += 1;
                if let Err(error) = check_line(read, keys, &mut chains) {
                    checked.errors.push(format!("line {number}: {error}"));
                }
                lines_hash.update(line.as_bytes());
                lines_hash.update(b"\n");
            }
            Err(error) => checked.errors.push(format!("line {number}: {error}")),
        }
    }
    if !whole {
        checked
            .errors
            .push("the summary is missing: the export is incomplete".to_owned());
    }
    checked.chains = chains.len();
    Ok(checked)
}

fn check_line(line: ReadLine, keys: &Keys, chains: &mut BTreeMap<String, (i64, Hash)>) -> Result<(), String> {
    let event = line.event.ok_or("it has no event")?;
    let salt = line.data_salt.as_deref().map(salt).transpose()?;
    let numbers = match salt {
        Some(_) => Numbers::Exact,
        None => Numbers::Verbatim,
    };
    let event = Event::read_again(event.get(), numbers).map_err(|invalid| {
        format!(
            "cannot read the event: {}",
            invalid
                .iter()
                .map(|i| i.field.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        )
    })?;
    let sealed = Sealed::again(event, salt);
    let key = match &line.chain_key {
        Some(id) => Some(
            keys.find(id)
                .ok_or_else(|| format!("the key {id} is not configured here"))?,
        ),
        None => None,
    };
    let previous = hash(&line.previous_hash)?;
    let said = hash(&line.event_hash)?;
    let id = sealed.event.event_id;
    if link(
        key,
        &previous,
        line.sequence,
        Micros(line.recorded_at_micros),
        &sealed.chained_hash,
    ) != said
    {
        return Err(format!("event {id} is not what was stored"));
    }
    let before = chains.insert(sealed.event.correlation_id, (line.sequence, said));
    match before {
        Some((sequence, hash)) if sequence + 1 == line.sequence && hash != previous => {
            Err(format!("event {id} does not follow its predecessor"))
        }
        Some((sequence, _)) if sequence >= line.sequence => {
            Err(format!("event {id} has the position of another one"))
        }
        _ => Ok(()),
    }
}

fn salt(text: &str) -> Result<Salt, String> {
    hex::decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{text:?} is not a salt of 32 hex digits"))
}

fn hash(text: &str) -> Result<Hash, String> {
    hex::decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{text:?} is not a hash of 64 hex digits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chain::GENESIS;
    use crate::domain::event::tests::{NOW, read, valid};

    fn export() -> Vec<String> {
        let mut previous = GENESIS;
        let mut lines: Vec<String> = (1..=3)
            .map(|sequence| {
                let mut value = valid();
                value["event_id"] = uuid::Uuid::from_u128(u128::try_from(sequence).unwrap())
                    .to_string()
                    .into();
                let sealed = Sealed::new(read(&value).unwrap());
                let event_hash = link(None, &previous, sequence, NOW, &sealed.chained_hash);
                let stored = Stored {
                    event: sealed.event,
                    sequence,
                    recorded_at: NOW,
                    previous_hash: previous,
                    event_hash,
                    chain_key: None,
                    salt: sealed.salt,
                };
                previous = event_hash;
                serde_json::to_string(&Line::of(stored).unwrap()).unwrap()
            })
            .collect();
        let sha256 = hex::encode(Sha256::digest(
            lines.iter().map(|line| format!("{line}\n")).collect::<String>(),
        ));
        lines.push(serde_json::to_string(&Summary::new(3, sha256)).unwrap());
        lines
    }

    fn errors(lines: &[String]) -> Vec<String> {
        check(lines.join("\n").as_bytes(), &Keys::default())
            .unwrap()
            .errors
    }

    #[test]
    fn complete_export_verifies() {
        let lines = export();
        let checked = check(lines.join("\n").as_bytes(), &Keys::default()).unwrap();
        assert_eq!(
            checked,
            Checked {
                events: 3,
                chains: 1,
                errors: vec![]
            }
        );
    }

    #[test]
    fn detects_altered_events_missing_ends_and_removed_lines() {
        let mut altered = export();
        altered[1] = altered[1].replace("\"a\":\"x\"", "\"a\":\"y\"");
        assert!(
            errors(&altered)[0].contains("line 2: event"),
            "{:?}",
            errors(&altered)
        );
        let mut cut = export();
        cut.pop();
        assert!(errors(&cut)[0].contains("the summary is missing"));
        let mut taken = export();
        taken.remove(1);
        assert!(errors(&taken)[0].contains("summary does not match these lines"));
    }
}
