//! The journal: one line of JSON per write, which a restart reads.
//!
//! Lines are passed to the operating system before the write is acknowledged: they survive a kill of this process,
//! not a power failure. Each start compacts the file.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::{Value, json, value::RawValue};

use super::{ChangeKind, Entry, Key};

#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    line: Vec<u8>,
}

/// One line of the journal.
pub(super) struct Record {
    pub(super) table: Arc<str>,
    pub(super) key: Key,
    pub(super) revision: u64,
    pub(super) entry: Option<Entry>,
}

impl Journal {
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Record>)> {
        let mut records = BTreeMap::new();
        let mut revision = 0;
        if path.exists() {
            let file =
                File::open(path).with_context(|| format!("cannot read the journal {}", path.display()))?;
            let mut lines = BufReader::new(file).split(b'\n').enumerate().peekable();
            while let Some((number, line)) = lines.next() {
                let line = line.with_context(|| format!("cannot read the journal {}", path.display()))?;
                match parse(&line) {
                    Ok(record) => {
                        revision = revision.max(record.revision);
                        records.insert((Arc::clone(&record.table), record.key.clone()), record);
                    }
                    Err(_) if lines.peek().is_none() && !is_complete(&line) => break,
                    Err(error) => {
                        return Err(error).with_context(|| {
                            format!("line {} of the journal {} is invalid", number + 1, path.display())
                        });
                    }
                }
            }
        }
        let file = rewrite(path, records.values(), revision)
            .with_context(|| format!("cannot write the journal {}", path.display()))?;
        let mut records: Vec<Record> = records.into_values().collect();
        records.sort_by_key(|record| record.revision);
        Ok((
            Self {
                file,
                line: Vec::new(),
            },
            records,
        ))
    }

    pub(super) fn append(&mut self, table: &str, entry: &Entry, kind: ChangeKind) -> Result<()> {
        self.line.clear();
        let body = (kind != ChangeKind::Deleted).then_some(&entry.body[..]);
        write_line(&mut self.line, table, &entry.key, entry.revision, body)?;
        self.file
            .write_all(&self.line)
            .context("cannot write the journal")
    }
}

/// Whether a line was cut off by a kill: it is an incomplete JSON value.
fn is_complete(line: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(line).is_ok()
}

fn write_line(out: &mut Vec<u8>, table: &str, key: &Key, revision: u64, body: Option<&[u8]>) -> Result<()> {
    let head = json!([table, &*key.namespace, &*key.name, revision]);
    out.extend_from_slice(b"[");
    serde_json::to_writer(&mut *out, &head)?;
    if let Some(body) = body {
        out.push(b',');
        out.extend_from_slice(body);
    }
    out.extend_from_slice(b"]\n");
    Ok(())
}

fn parse(line: &[u8]) -> Result<Record> {
    let parts: Vec<Value> = serde_json::from_slice(line)?;
    let mut parts = parts.into_iter();
    let head = parts.next().context("an empty line")?;
    let (table, namespace, name, revision): (String, String, String, u64) = serde_json::from_value(head)?;
    let key = Key::new(&namespace, &name);
    // The selectable fields are known only after the definitions are; the store is indexed again then.
    let entry = match parts.next() {
        Some(object) => Some(Entry::of(key.clone(), revision, &object, &[])?),
        None => None,
    };
    Ok(Record {
        table: table.into(),
        key,
        revision,
        entry,
    })
}

/// Writes the compacted file beside the old one and renames it. The last line has the last version, which may
/// be a deletion's.
fn rewrite<'a>(path: &Path, records: impl Iterator<Item = &'a Record>, revision: u64) -> Result<File> {
    let beside = path.with_extension("new");
    let mut out = BufWriter::new(File::create(&beside)?);
    let mut line = Vec::new();
    for record in records {
        let Some(entry) = &record.entry else { continue };
        line.clear();
        write_line(
            &mut line,
            &record.table,
            &record.key,
            record.revision,
            Some(&entry.body),
        )?;
        out.write_all(&line)?;
    }
    line.clear();
    write_line(&mut line, "revision", &Key::new("", ""), revision, None)?;
    out.write_all(&line)?;
    out.flush()?;
    drop(out);
    std::fs::rename(&beside, path)?;
    Ok(OpenOptions::new().append(true).open(path)?)
}
