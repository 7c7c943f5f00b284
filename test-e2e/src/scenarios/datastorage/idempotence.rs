//! Sending an event again stores one row.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use serde_json::json;

use crate::datastorage::{event, stored_whole};
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "s10_a_repeated_event_is_one_row_and_another_body_is_rejected",
    |c| Box::pin(same_id(c)),
)
.shares(&[DataStorage, PostgreSql])];

async fn same_id(context: &Context) -> Result<()> {
    const AT_ONCE: usize = 20;
    let correlation = context.named("same");
    let datastorage = context.datastorage();
    let sent = event(&correlation, "gateway.signal.received", Duration::from_secs(1));
    let responses = try_join_all((0..AT_ONCE).map(|_| datastorage.write(&sent))).await?;
    let mut times = Vec::new();
    for response in responses {
        let response = response.expect(201)?;
        response.has("/event_id", sent["event_id"].clone())?;
        times.push(response.at("/event_timestamp")?);
    }
    times.dedup();
    ensure!(
        times.len() == 1,
        "expected the first result in each response, found the times {times:?}"
    );

    let stored = datastorage.events(&correlation).await?;
    ensure!(
        stored.len() == 1,
        "expected one row of {AT_ONCE} writes of one id, found {stored:#?}"
    );
    stored_whole(&sent, &stored[0])?;

    for (field, other) in [
        ("event_outcome", json!("failure")),
        ("event_data", json!({"reason": "another"})),
        (
            "event_timestamp",
            json!(crate::datastorage::before_now(Duration::from_secs(3_600))),
        ),
        ("correlation_id", json!(context.named("other"))),
    ] {
        let mut changed = sent.clone();
        changed[field] = other;
        let id = sent["event_id"].as_str().unwrap_or_default();
        datastorage.write(&changed).await?.is_problem(409, &[id])?;
    }
    // In a batch a repeated event adds no row, and a changed one rejects the whole batch.
    let new = event(&correlation, "gateway.crd.created", Duration::from_secs(1));
    datastorage
        .write_batch(&[sent.clone(), new.clone(), new.clone()])
        .await?
        .expect(201)?;
    let stored = datastorage.events(&correlation).await?;
    ensure!(
        stored.len() == 2,
        "expected two rows after a batch with repeats, found {stored:#?}"
    );
    let mut changed = sent.clone();
    changed["severity"] = json!("info");
    let third = event(&correlation, "gateway.crd.created", Duration::from_secs(1));
    datastorage
        .write_batch(&[third, changed])
        .await?
        .is_problem(409, &[])?;
    let stored = datastorage.events(&correlation).await?;
    ensure!(
        stored.len() == 2,
        "expected nothing of a batch with a conflict, found {stored:#?}"
    );
    stored_whole(
        &new,
        &stored
            .iter()
            .find(|one| one["event_id"] == new["event_id"])
            .cloned()
            .unwrap_or_default(),
    )
}
