//! The journal: one line of JSON a write, so that a restart finds what there was.
//!
//! Lines are handed to the operating system before the write is answered: they survive a kill of this process, not
//! a loss of power. At each start the file is rewritten without what was overwritten since.

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

/// One line that was read.
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
                File::open(path).with_context(|| format!("can't read the journal {}", path.display()))?;
            let mut lines = BufReader::new(file).split(b'\n').enumerate().peekable();
            while let Some((number, line)) = lines.next() {
                let line = line.with_context(|| format!("can't read the journal {}", path.display()))?;
                match parse(&line) {
                    Ok(record) => {
                        revision = revision.max(record.revision);
                        records.insert((Arc::clone(&record.table), record.key.clone()), record);
                    }
                    Err(_) if lines.peek().is_none() && !is_complete(&line) => break,
                    Err(error) => {
                        return Err(error).with_context(|| {
                            format!(
                                "line {} of the journal {} is none of ours",
                                number + 1,
                                path.display()
                            )
                        });
                    }
                }
            }
        }
        let file = rewrite(path, records.values(), revision)
            .with_context(|| format!("can't write the journal {}", path.display()))?;
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
        self.file.write_all(&self.line).context("can't write the journal")
    }
}

/// A line that was cut off by a kill is no whole JSON value.
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
    // Which fields selectors may ask for is known only when the definitions are; the store is indexed again then.
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

/// Writes the file anew beside the old one and puts it in its place. The last line says the last version, which may
/// have been a deletion's.
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
