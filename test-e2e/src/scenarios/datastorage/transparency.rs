//! The transparency log, as an auditor uses it who trusts neither service nor database.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tlog::{Checkpoint, Note, Proof, VerifierKey, leaf_hash};

use crate::datastorage::event;
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::scenario::Scenario;
use crate::instance::Program;
use crate::wait::{Seen, until};

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

    let proof = until(MAX_WAIT, "a checkpoint that has the event", async || {
        let response = log(&format!("proof/inclusion?event_id={id}")).await?;
        if response.status == 200 {
            return Ok(Seen::Yes(response));
        }
        let response = response.expect(404)?;
        Ok(Seen::NotYet(response.text()))
    })
    .await?;
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

    // The database of this run, against the checkpoint that was published.
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), note.to_string())?;
    let path = file.path().to_str().context("the path of the checkpoint")?;
    let program = Program::datastorage(context, &json!({}))?;
    let (key, correlation) = (key.to_string(), context.named("proved"));
    let printed = program.run(&[
        "verify",
        "--checkpoint",
        path,
        "--key",
        &key,
        "--correlation-id",
        &correlation,
    ])?;
    ensure!(
        printed.contains("1 events of 1 chains verify") && printed.contains("matches 1 checkpoints"),
        "expected the event and the checkpoint to be verified: {printed}"
    );
    Ok(())
}
