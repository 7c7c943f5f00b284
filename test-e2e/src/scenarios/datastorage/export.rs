//! An export that a reader can verify without trusting the service.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tlog::{Checkpoint, Note, VerifierKey, leaf_hash, verify_inclusion};

use crate::datastorage::event;
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::scenario::Scenario;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] =
    &[
        Scenario::new("s20_an_export_of_a_hundred_thousand_events_is_verifiable", |c| {
            Box::pin(export(c))
        })
        .shares(&[DataStorage, PostgreSql])
        .takes(60, 400),
    ];

const CHAINS: usize = 100;
const EACH: usize = 1_000;

/// Of the proofs every tenth is verified: each is 17 hashes, and `datastorage verify-export` does them all.
const SAMPLE: i64 = 10;

/// Maximum time until a checkpoint has the events, on a loaded machine.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A line of the export: an event with its proof.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
    sequence: i64,
    recorded_at_micros: i64,
    previous_hash: String,
    content_hash: String,
    chained_hash: String,
    event_hash: String,
    chain_key: Option<String>,
    data_salt: String,
    leaf_index: u64,
    inclusion_proof: Vec<String>,
}

async fn export(context: &Context) -> Result<()> {
    // Only these events have this type, by which the export selects them.
    let event_type = context.named("exported");
    let chains = stream::iter(0..CHAINS).map(|chain| {
        let events: Vec<_> = (0..EACH)
            .map(|number| short(context, &event_type, chain, number))
            .collect();
        async move { context.datastorage().write_batch(&events).await?.expect(201) }
    });
    chains.buffer_unordered(4).try_for_each(async |_| Ok(())).await?;
    let key = in_checkpoint(context).await?;

    let url = context.datastorage().url("/api/v1/audit/export")?;
    let request = context
        .http
        .get(url)
        .query("event_type", &event_type)
        .deadline(Duration::from_secs(180));
    let response = request.send().await?.expect(200)?;
    response.has_header("content-type", "application/x-ndjson")?;
    proves_itself(&response.text(), &key)
}

/// Waits until a checkpoint has all events; returns the key of the log.
async fn in_checkpoint(context: &Context) -> Result<VerifierKey> {
    let log = async |path: &str| {
        let url = context.datastorage().url(&format!("/api/v1/audit/log/{path}"))?;
        context.http.get(url).send().await?.expect(200)
    };
    let key: VerifierKey = log("key").await?.text().trim().parse()?;
    let sql = context.sql_admin().await?;
    let prefix = format!("{}%", context.named("chain-"));
    until(MAX_WAIT, "a checkpoint that has the events", async || {
        let row = sql
            .query_one(
                "SELECT (SELECT count(*) FROM audit_log_pending WHERE correlation_id LIKE $1),
                     (SELECT size FROM audit_log_size)",
                &[&prefix],
            )
            .await?;
        let (waiting, size): (i64, i64) = (row.get(0), row.get(1));
        let note = Note::from_bytes(log("checkpoint").await?.text().as_bytes())?;
        let (checkpoint, _) = Checkpoint::open(&note, &key, &[], 0)?;
        Ok(if waiting == 0 && checkpoint.size >= size.try_into()? {
            Seen::Yes(())
        } else {
            Seen::NotYet(format!(
                "{waiting} events wait, {} of {size} leaves",
                checkpoint.size
            ))
        })
    })
    .await?;
    Ok(key)
}

fn short(context: &Context, event_type: &str, chain: usize, number: usize) -> Value {
    let mut event = event(
        &context.named(&format!("chain-{chain}")),
        event_type,
        Duration::from_secs(60),
    );
    event["event_data"] = json!({"number": number});
    event
}

/// The SHA-256 of the content with the salted hash of the event data in its place.
fn chained_hash(line: &Line<'_>) -> Result<String> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        event_data: &'a RawValue,
    }
    let content = line.event.get();
    let data = serde_json::from_str::<Event<'_>>(content)?.event_data.get();
    let salted = [&hex::decode(&line.data_salt)?, data.as_bytes()].concat();
    let hash = hex::encode(Sha256::digest(salted));
    let content = content.replacen(
        &format!("\"event_data\":{data}"),
        &format!("\"event_data_hash\":\"{hash}\""),
        1,
    );
    Ok(hex::encode(Sha256::digest(content)))
}

/// Verifies an export with the key of the log alone: every hash is computed again from the lines.
fn proves_itself(text: &str, key: &VerifierKey) -> Result<()> {
    let (lines, summary) = text
        .trim_end()
        .rsplit_once('\n')
        .context("the export has no lines")?;
    let summary: Value = serde_json::from_str(summary)?;
    let whole = hex::encode(Sha256::digest(format!("{lines}\n")));
    ensure!(
        summary["events"] == json!(CHAINS * EACH),
        "expected {} events: {summary}",
        CHAINS * EACH
    );
    ensure!(
        summary["sha256"] == json!(whole),
        "expected the hash {whole} of all lines: {summary}"
    );

    let signed = summary["signed_statement"]
        .as_str()
        .context("the export is not signed")?;
    let signed: Note = signed.parse()?;
    signed.verify(std::slice::from_ref(key), 1)?;
    ensure!(
        signed
            .text()
            .contains(&format!("\nevents {}\nsha256 {whole}\n", CHAINS * EACH)),
        "expected the signature of these lines: {}",
        signed.text()
    );
    let (first, lines) = lines.split_once('\n').context("the export has no events")?;
    let first: Value = serde_json::from_str(first)?;
    let note = first["checkpoint"]
        .as_str()
        .context("the first line has no checkpoint")?;
    let (checkpoint, _) = Checkpoint::open(&note.parse()?, key, &[], 0)?;

    let mut heads: BTreeMap<String, (i64, String)> = BTreeMap::new();
    for text in lines.lines() {
        let line: Line<'_> = serde_json::from_str(text).with_context(|| text.to_owned())?;
        ensure!(
            line.chain_key.is_none(),
            "this deployment has an HMAC key, without which no hash can be recomputed: {text}"
        );
        let content = hex::encode(Sha256::digest(line.event.get()));
        ensure!(
            content == line.content_hash,
            "expected the content's hash {content}: {text}"
        );
        let chained = chained_hash(&line)?;
        ensure!(
            chained == line.chained_hash,
            "expected the hash {chained} of the content with the salted hash of its data: {text}"
        );
        let mut link = hex::decode(&line.previous_hash)?;
        link.extend(line.sequence.to_be_bytes());
        link.extend(line.recorded_at_micros.to_be_bytes());
        link.extend(hex::decode(&chained)?);
        let hash = hex::encode(Sha256::digest(&link));
        ensure!(
            hash == line.event_hash,
            "expected the event's hash {hash}: {text}"
        );
        if line.sequence % SAMPLE == 0 {
            is_in_tree(&line, &checkpoint).with_context(|| text.to_owned())?;
        }

        let event: Value = serde_json::from_str(line.event.get())?;
        let chain = event["correlation_id"].as_str().unwrap_or_default().to_owned();
        let head = heads.entry(chain).or_insert_with(|| (0, "0".repeat(64)));
        ensure!(
            *head == (line.sequence - 1, line.previous_hash),
            "expected it to follow {head:?}: {text}"
        );
        *head = (line.sequence, line.event_hash);
    }
    let whole = heads.values().all(|(sequence, _)| *sequence == EACH as i64);
    ensure!(
        heads.len() == CHAINS && whole,
        "expected {CHAINS} chains of {EACH} events, found {heads:?}"
    );
    Ok(())
}

fn is_in_tree(line: &Line<'_>, checkpoint: &Checkpoint) -> Result<()> {
    let leaf = leaf_hash(&[&[1], &hex::decode(&line.event_hash)?[..]].concat());
    let hashes: Option<Vec<tlog::Hash>> = line
        .inclusion_proof
        .iter()
        .map(|hash| STANDARD.decode(hash).ok()?.try_into().ok())
        .collect();
    let hashes = hashes.context("expected hashes of 32 bytes")?;
    Ok(verify_inclusion(
        &leaf,
        line.leaf_index,
        checkpoint.size,
        &hashes,
        &checkpoint.root,
    )?)
}
