//! An export that a reader can verify without trusting the service.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::datastorage::event;
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::scenario::Scenario;

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

    let url = context.datastorage().url("/api/v1/audit/export")?;
    let request = context
        .http
        .get(url)
        .query("event_type", &event_type)
        .deadline(Duration::from_secs(180));
    let response = request.send().await?.expect(200)?;
    response.has_header("content-type", "application/x-ndjson")?;
    proves_itself(&response.text())
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

/// Recomputes every hash from the lines alone.
fn proves_itself(text: &str) -> Result<()> {
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
