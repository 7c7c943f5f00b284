//! Acknowledged events are never lost, whichever store is unavailable.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::datastorage::{event, stored_whole};
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql, Redis};
use crate::harness::scenario::Requirement::Control;
use crate::harness::scenario::Scenario;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "s02_events_accepted_without_postgresql_are_stored_once_and_complete",
    |c| Box::pin(without_postgresql(c)),
)
.shares(&[DataStorage, Redis])
.alone(&[PostgreSql])
.requires(&[Control])
.takes(20, 240)];

/// Maximum time from PostgreSQL's return to the last row.
const DRAINED: Duration = Duration::from_secs(30);

async fn without_postgresql(context: &Context) -> Result<()> {
    let datastorage = context.datastorage();
    let correlations = [context.named("a"), context.named("b")];
    let mut sent: [Vec<Value>; 2] = Default::default();
    for (correlation, sent) in correlations.iter().zip(&mut sent) {
        sent.push(numbered(correlation, 0));
        datastorage.write(&sent[0]).await?.expect(201)?;
    }

    context.control()?.stop(PostgreSql).await?;
    until(
        Duration::from_secs(30),
        "readiness to report that PostgreSQL is unavailable",
        async || {
            let ready = datastorage.health("/readyz").await?.expect(200)?;
            let state = ready.at("/dependencies/postgresql/status")?;
            Ok(if state == "down" {
                Seen::Yes(())
            } else {
                Seen::NotYet(ready.to_string())
            })
        },
    )
    .await?;
    for number in 1..=10 {
        for (correlation, sent) in correlations.iter().zip(&mut sent) {
            let event = numbered(correlation, number);
            let response = datastorage.write(&event).await?.expect(202)?;
            response.has("/event_id", event["event_id"].clone())?;
            sent.push(event);
        }
    }
    for (correlation, sent) in correlations.iter().zip(&mut sent) {
        let batch: Vec<_> = (11..=15).map(|number| numbered(correlation, number)).collect();
        datastorage.write_batch(&batch).await?.expect(202)?;
        sent.extend(batch);
    }
    // A sender repeats an accepted event: it remains one row.
    datastorage.write(&sent[0][5]).await?.expect(202)?;

    context.control()?.start(PostgreSql).await?;
    for (correlation, sent) in correlations.iter().zip(&sent) {
        let mut stored = datastorage.events_when(sent.len(), correlation, DRAINED).await?;
        stored.sort_by_key(|event| event["sequence"].as_i64());
        for (place, (sent, stored)) in sent.iter().zip(&stored).enumerate() {
            let what = || format!("position {place} of {correlation}, in the order of writing");
            stored_whole(sent, stored).with_context(what)?;
            ensure!(
                stored["sequence"] == json!(place + 1),
                "expected the sequence {} in {stored}",
                place + 1
            );
        }
    }
    // An empty stream contains nothing that could add a row: still once each.
    until(DRAINED, "an empty stream", async || {
        let depth = datastorage.metrics().await?.sum("datastorage_spill_entries", &[]);
        Ok(if depth == Some(0.0) {
            Seen::Yes(())
        } else {
            Seen::NotYet(format!("{depth:?} entries"))
        })
    })
    .await?;
    for (correlation, sent) in correlations.iter().zip(&sent) {
        let stored = datastorage.events(correlation).await?;
        ensure!(
            stored.len() == sent.len(),
            "expected {} rows, found {}",
            sent.len(),
            stored.len()
        );
        // New events follow the drained ones in the chain.
        datastorage.write(&numbered(correlation, 16)).await?.expect(201)?;
    }
    Ok(())
}

/// The number is the order of writing; the timestamps run in the other direction, so that sorting by time fails.
fn numbered(correlation: &str, number: u64) -> Value {
    let mut event = event(
        correlation,
        "gateway.signal.received",
        Duration::from_secs(60 + number),
    );
    event["event_data"] = json!({"number": number});
    event
}
