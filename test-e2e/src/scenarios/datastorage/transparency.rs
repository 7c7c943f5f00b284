//! The transparency log, as an auditor uses it who trusts neither service nor database.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tlog::{Checkpoint, Note, Proof, VerifierKey, leaf_hash};

use crate::datastorage::event;
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] =
    &[
        Scenario::new("s26_an_event_is_proved_by_the_public_key_alone", |c| {
            Box::pin(proved(c))
        })
        .shares(&[DataStorage, PostgreSql])
        .takes(3, 60),
    ];

/// Maximum time from the response to an event until a checkpoint has it, on a loaded machine.
const MAX_WAIT: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(100);

async fn proved(context: &Context) -> Result<()> {
    let log = async |path: &str| {
        let url = context.datastorage().url(&format!("/api/v1/audit/log/{path}"))?;
        context.http.get(url).send().await
    };
    let key: VerifierKey = log("key").await?.expect(200)?.text().trim().parse()?;
    let event = event(
        &context.named("proved"),
        "gateway.signal.received",
        Duration::from_secs(60),
    );
    context.datastorage().write(&event).await?.expect(201)?;
    let id = event["event_id"].as_str().context("no id")?;
    let url = context.datastorage().url(&format!("/api/v1/audit/events/{id}"))?;
    let stored = context.http.get(url).send().await?.expect(200)?.json()?;
    let hash = hex::decode(stored["event_hash"].as_str().context("no hash")?)?;

    let begin = Instant::now();
    let proof = loop {
        let response = log(&format!("proof/inclusion?event_id={id}")).await?;
        if response.status == 200 {
            break response;
        }
        let response = response.expect(404)?;
        response.ensure(
            begin.elapsed() < MAX_WAIT,
            "expected the event in a checkpoint by now",
        )?;
        tokio::time::sleep(INTERVAL).await;
    };
    let text = proof.text();
    proof.ensure(
        text.len() <= 1536,
        format!("expected at most 1.5 KB: {}", text.len()),
    )?;
    let proof: Proof = text.parse()?;
    // A leaf is the kind of its entry, 1 for an event, and the event's hash.
    let leaf = leaf_hash(&[&[1], &hash[..]].concat());
    let proved = proof.verify(&leaf, &key, &[], 0)?;
    let other = leaf_hash(&[&[1], &[0; 32][..]].concat());
    ensure!(
        proof.verify(&other, &key, &[], 0).is_err(),
        "another event was proved, too"
    );

    let note = Note::from_bytes(log("checkpoint").await?.expect(200)?.text().as_bytes())?;
    let (newest, _) = Checkpoint::open(&note, &key, &[], 0)?;
    ensure!(
        newest.size >= proved.size,
        "expected a checkpoint of {} leaves or more",
        proved.size
    );
    let verified = context
        .datastorage()
        .verify_chain(&context.named("proved"))
        .await?;
    verified
        .has("/is_valid", true)?
        .has("/tampered_events", json!([]))?;
    Ok(())
}
