//! Verification of an export without a database.

use std::collections::BTreeMap;
use std::io::BufRead;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tlog::{Checkpoint, Note, verify_inclusion};

use super::statement;
use crate::domain::chain::link;
use crate::domain::event::{Event, Hash, Salt};
use crate::domain::log::Kind;
use crate::domain::stored::DataSeal;
use crate::domain::time::Micros;
use crate::domain::trust::Trust;

/// Maximum number of reported errors.
const MAX_ERRORS: usize = 1000;

/// Time in microseconds after which a stored event has its place in the log, with a large margin.
const MAX_WAIT: i64 = 15 * 60 * 1_000_000;

enum ReadLine {
    Checkpoint(ReadHeader),
    Event(Box<ReadEvent>),
    Summary(ReadSummary),
}

#[derive(Deserialize)]
struct ReadHeader {
    checkpoint: String,
}

#[derive(Deserialize)]
struct ReadEvent {
    event: Box<RawValue>,
    sequence: i64,
    recorded_at_micros: i64,
    previous_hash: String,
    event_hash: String,
    chain_key: Option<String>,
    data_salt: Option<String>,
    event_data_hash: Option<String>,
    leaf_index: Option<u64>,
    inclusion_proof: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ReadSummary {
    query: String,
    events: u64,
    sha256: String,
    signed_statement: Option<String>,
    statement_mac: Option<String>,
    mac_key: Option<String>,
}

/// The result of verifying an export.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) events: u64,
    pub(crate) chains: usize,
    /// Number of events that are proved to be in the checkpoint's tree.
    pub(crate) proven: u64,
    /// Size of the checkpoint's tree, if its signature was verified.
    pub(crate) tree: Option<u64>,
    /// Whether a key proves that the export is complete.
    pub(crate) is_sealed: bool,
    /// The first 1,000 errors, with the line's number.
    pub(crate) errors: Vec<String>,
    /// Number of all errors.
    pub(crate) error_count: u64,
}

impl Checked {
    fn error(&mut self, error: String) {
        self.error_count += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }
}

impl std::fmt::Display for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} events of {} chains verify", self.events, self.chains)?;
        if let Some(size) = self.tree {
            write!(
                f,
                "; {} of them are in the signed tree of {size} leaves",
                self.proven
            )?;
        }
        if !self.is_sealed {
            f.write_str("; without a key nothing proves that the export is complete")?;
        }
        Ok(())
    }
}

/// Verifies each event's hash, each link between consecutive events of a chain, each event's place in the signed tree,
/// and that the export is complete. Memory: one hash per chain.
pub(crate) fn check(export: impl BufRead, trust: &Trust) -> std::io::Result<Checked> {
    let mut reader = Reader {
        trust,
        checked: Checked::default(),
        lines_hash: Sha256::new(),
        chains: BTreeMap::new(),
        checkpoint: None,
        newest_proven: i64::MIN,
        unproven: Vec::new(),
    };
    let mut is_whole = false;
    for (index, line) in export.lines().enumerate() {
        let (line, number) = (line?, index + 1);
        if is_whole {
            reader
                .checked
                .error(format!("line {number}: it follows the summary"));
            break;
        }
        let result = match read_line(&line) {
            Ok(ReadLine::Checkpoint(header)) if number == 1 => reader.begin(&header.checkpoint),
            Ok(ReadLine::Checkpoint(_)) => Err("a checkpoint is only in the first line".to_owned()),
            Ok(ReadLine::Event(event)) => {
                reader.checked.events += 1;
                reader.event(number, *event)
            }
            Ok(ReadLine::Summary(summary)) => {
                is_whole = true;
                reader.end(&summary)
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = result {
            reader.checked.error(format!("line {number}: {error}"));
        }
        reader.lines_hash.update(line.as_bytes());
        reader.lines_hash.update(b"\n");
    }
    if !is_whole {
        let error = "the summary is missing: the export is incomplete";
        reader.checked.error(error.to_owned());
    }
    Ok(reader.finish())
}

struct Reader<'a> {
    trust: &'a Trust,
    checked: Checked,
    lines_hash: Sha256,
    /// The last position and hash of each chain.
    chains: BTreeMap<String, (i64, Hash)>,
    checkpoint: Option<Checkpoint>,
    /// Latest time of storing of an event in the tree.
    newest_proven: i64,
    /// Lines of events that are not in the tree, with their times of storing; the first ones.
    unproven: Vec<(usize, i64)>,
}

impl Reader<'_> {
    fn begin(&mut self, checkpoint: &str) -> Result<(), String> {
        let invalid = |error: tlog::Error| format!("the checkpoint is invalid: {error}");
        let note = Note::from_bytes(checkpoint.as_bytes()).map_err(invalid)?;
        let checkpoint = match &self.trust.log {
            Some(key) => {
                let (checkpoint, _) = Checkpoint::open(&note, key, &[], 0).map_err(invalid)?;
                self.checked.tree = Some(checkpoint.size);
                checkpoint
            }
            None => note.text().parse().map_err(invalid)?,
        };
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    fn event(&mut self, number: usize, line: ReadEvent) -> Result<(), String> {
        let salt = line.data_salt.as_deref().map(salt).transpose()?;
        let data = DataSeal::new(salt, line.event_data_hash.as_deref().map(hash).transpose()?);
        let event = Event::read_again(line.event.get(), data.numbers()).map_err(|invalid| {
            let fields: Vec<&str> = invalid.iter().map(|invalid| invalid.field.as_str()).collect();
            format!("cannot read the event: {}", fields.join(", "))
        })?;
        let key = match &line.chain_key {
            Some(id) => Some(
                self.trust
                    .chain
                    .find(id)
                    .ok_or_else(|| format!("the key {id} is not configured here"))?,
            ),
            None => None,
        };
        let recorded_at = Micros(line.recorded_at_micros);
        let id = event.event_id;
        if key.is_some_and(|key| !key.is_valid_at(recorded_at)) {
            return Err(format!(
                "the key of event {id} was not in use at its time of storing"
            ));
        }
        let previous = hash(&line.previous_hash)?;
        let said = hash(&line.event_hash)?;
        if link(
            key,
            &previous,
            line.sequence,
            recorded_at,
            &data.chained_hash(&event),
        ) != said
        {
            return Err(format!("event {id} is not what was stored"));
        }
        self.place(number, &line, &said)?;
        let before = self.chains.insert(event.correlation_id, (line.sequence, said));
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

    /// Verifies an event's place in the tree.
    fn place(&mut self, number: usize, line: &ReadEvent, event_hash: &Hash) -> Result<(), String> {
        let Some(checkpoint) = &self.checkpoint else {
            return Ok(());
        };
        let Some(index) = line.leaf_index else {
            if self.unproven.len() < MAX_ERRORS {
                self.unproven.push((number, line.recorded_at_micros));
            }
            return Ok(());
        };
        let hashes: Option<Vec<Hash>> = line.inclusion_proof.as_ref().and_then(|hashes| {
            hashes
                .iter()
                .map(|text| STANDARD.decode(text).ok()?.try_into().ok())
                .collect()
        });
        let hashes = hashes.ok_or("it has no inclusion proof: the transparency log was altered")?;
        let leaf = Kind::Event.leaf_hash(event_hash);
        verify_inclusion(&leaf, index, checkpoint.size, &hashes, &checkpoint.root)
            .map_err(|error| format!("it is not in the tree of the checkpoint: {error}"))?;
        self.checked.proven += 1;
        self.newest_proven = self.newest_proven.max(line.recorded_at_micros);
        Ok(())
    }

    fn end(&mut self, summary: &ReadSummary) -> Result<(), String> {
        let sha256 = hex::encode(self.lines_hash.clone().finalize());
        if summary.events != self.checked.events || summary.sha256 != sha256 {
            return Err("the summary does not match these lines".to_owned());
        }
        let statement = statement(&summary.query, summary.events, &sha256, self.checkpoint.as_ref());
        if let Some(key) = &self.trust.log {
            let note = summary.signed_statement.as_deref();
            let note = note.ok_or("the export is not signed, but a public key is given")?;
            let note: Note = note
                .parse()
                .map_err(|error| format!("the signed statement is invalid: {error}"))?;
            note.verify(std::slice::from_ref(key), 1)
                .map_err(|error| format!("the signature of the export is invalid: {error}"))?;
            if note.text() != statement {
                return Err("the signed statement is of another export".to_owned());
            }
            self.checked.is_sealed = true;
        }
        if !self.trust.chain.0.is_empty() {
            self.mac(summary, &statement)?;
            self.checked.is_sealed = true;
        }
        Ok(())
    }

    fn mac(&self, summary: &ReadSummary, statement: &str) -> Result<(), String> {
        let (Some(mac), Some(id)) = (&summary.statement_mac, &summary.mac_key) else {
            // The signature of the log proves more.
            return match self.checked.is_sealed {
                true => Ok(()),
                false => Err("the export has no HMAC, but a key is configured".to_owned()),
            };
        };
        let key = self.trust.chain.find(id);
        let key = key.ok_or_else(|| format!("the key {id} of the summary is not configured here"))?;
        if hash(mac)? == key.mac(statement.as_bytes()) {
            Ok(())
        } else {
            Err("the HMAC of the export is not that of these lines".to_owned())
        }
    }

    /// An event is in the tree a second or so after it was stored: an older one was added later.
    fn finish(mut self) -> Checked {
        for (number, recorded_at) in std::mem::take(&mut self.unproven) {
            if recorded_at < self.newest_proven.saturating_sub(MAX_WAIT) {
                let error = format!("line {number}: the event is not in the checkpoint, but later ones are");
                self.checked.error(error);
            }
        }
        self.checked.chains = self.chains.len();
        self.checked
    }
}

/// Reads a line by its type. A tagged enum of serde would lose the exact text of the event.
fn read_line(line: &str) -> Result<ReadLine, serde_json::Error> {
    #[derive(Deserialize)]
    struct Tag {
        #[serde(rename = "type")]
        kind: String,
    }
    let tag: Tag = serde_json::from_str(line)?;
    Ok(match tag.kind.as_str() {
        "checkpoint" => ReadLine::Checkpoint(serde_json::from_str(line)?),
        "summary" => ReadLine::Summary(serde_json::from_str(line)?),
        _ => ReadLine::Event(serde_json::from_str(line)?),
    })
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
