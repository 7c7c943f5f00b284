//! What was acknowledged is never lost, whatever is away.

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
    "s02_what_was_taken_while_postgresql_was_away_is_stored_once_and_whole",
    |c| Box::pin(postgresql_away(c)),
)
.shares(&[DataStorage, Redis])
.alone(&[PostgreSql])
.requires(&[Control])
.takes(20, 240)];

/// From PostgreSQL's return to the last row.
const DRAINED: Duration = Duration::from_secs(30);

async fn postgresql_away(context: &Context) -> Result<()> {
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
        "readiness to say that PostgreSQL is away",
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
            let answer = datastorage.write(&event).await?.expect(202)?;
            answer.has("/event_id", event["event_id"].clone())?;
            sent.push(event);
        }
    }
    for (correlation, sent) in correlations.iter().zip(&mut sent) {
        let batch: Vec<_> = (11..=15).map(|number| numbered(correlation, number)).collect();
        datastorage.write_batch(&batch).await?.expect(202)?;
        sent.extend(batch);
    }
    // A sender that retries what was taken: still one row in the end.
    datastorage.write(&sent[0][5]).await?.expect(202)?;

    context.control()?.start(PostgreSql).await?;
    for (correlation, sent) in correlations.iter().zip(&sent) {
        let mut stored = datastorage.events_when(sent.len(), correlation, DRAINED).await?;
        stored.sort_by_key(|event| event["sequence"].as_i64());
        for (place, (sent, stored)) in sent.iter().zip(&stored).enumerate() {
            let what = || format!("place {place} of {correlation}, in the order of writing");
            stored_whole(sent, stored).with_context(what)?;
            ensure!(
                stored["sequence"] == json!(place + 1),
                "expected the sequence {} in {stored}",
                place + 1
            );
        }
    }
    // When the stream is empty nothing can come any more: still once each.
    until(DRAINED, "an empty stream", async || {
        let depth = datastorage.metrics().await?.sum("datastorage_dlq_depth", &[]);
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

/// The number tells the order of writing; the event's own time runs against it, so that nothing is right by chance.
fn numbered(correlation: &str, number: u64) -> Value {
    let mut event = event(
        correlation,
        "gateway.signal.received",
        Duration::from_secs(60 + number),
    );
    event["event_data"] = json!({"number": number});
    event
}
