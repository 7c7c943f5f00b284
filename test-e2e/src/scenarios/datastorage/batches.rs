//! Batches: all or none.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::datastorage::{event, stored_whole};
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "s07_a_batch_is_stored_completely_and_in_order_or_not_at_all",
    |c| Box::pin(all_or_none(c)),
)
.shares(&[DataStorage, PostgreSql])
.takes(2, 60)];

async fn all_or_none(context: &Context) -> Result<()> {
    for size in [3, 1_000] {
        let correlation = context.named(&format!("batch-of-{size}"));
        let events = events(&correlation, size);
        let response = context.datastorage().write_batch(&events).await?.expect(201)?;
        let ids: Vec<_> = events.iter().map(|event| event["event_id"].clone()).collect();
        response.has("/event_ids", Value::Array(ids))?;
        let mut stored = context.datastorage().events(&correlation).await?;
        ensure!(
            stored.len() == size,
            "expected the {size} events of the batch, found {}",
            stored.len()
        );
        stored.sort_by_key(|event| event["sequence"].as_i64());
        for (index, (sent, stored)) in events.iter().zip(&stored).enumerate() {
            stored_whole(sent, stored).with_context(|| format!("event {index} of {size}"))?;
        }
    }

    let correlation = context.named("one-bad");
    let mut events = events(&correlation, 100);
    events[42]["event_outcome"] = json!("perhaps");
    let response = context.datastorage().write_batch(&events).await?;
    response.is_problem(400, &["event at index 42", "event_outcome"])?;
    let stored = context.datastorage().events(&correlation).await?;
    ensure!(
        stored.is_empty(),
        "one of the 100 was rejected, and {} were stored",
        stored.len()
    );

    // With the error fixed the same ids are accepted: nothing of the rejected batch conflicts.
    events[42]["event_outcome"] = json!("pending");
    context.datastorage().write_batch(&events).await?.expect(201)?;
    let stored = context.datastorage().events(&correlation).await?;
    let ids: BTreeSet<_> = stored.iter().map(|event| event["event_id"].to_string()).collect();
    ensure!(
        ids.len() == 100 && stored.len() == 100,
        "expected the 100 events once, found {}",
        stored.len()
    );
    Ok(())
}

fn events(correlation: &str, count: usize) -> Vec<Value> {
    (0..count)
        .map(|number| {
            let mut event = event(correlation, "execution.step.completed", Duration::from_secs(60));
            event["event_category"] = json!("execution");
            event["event_data"] = json!({"step": number});
            event
        })
        .collect()
}
