//! Entries of the stream that can't be stored.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redis::streams::StreamRangeReply;
use serde_json::json;

use crate::datastorage::event;
use crate::harness::context::Context;
use crate::harness::scenario::Part::{self, DataStorage, PostgreSql};
use crate::harness::scenario::Requirement::{Control, Redis};
use crate::harness::scenario::Scenario;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "s19_a_poison_entry_is_set_aside_with_its_reason_and_others_flow",
    |c| Box::pin(poison(c)),
)
.shares(&[DataStorage])
.alone(&[PostgreSql, Part::Redis])
.requires(&[Control, Redis])
.takes(20, 240)];

const STREAM: &str = "audit:dlq:events";
const DEAD: &str = "audit:dead-letter:events";
/// Five tries with growing pauses.
const SET_ASIDE: Duration = Duration::from_secs(60);

async fn poison(context: &Context) -> Result<()> {
    let (datastorage, correlation) = (context.datastorage(), context.named("flows"));
    let mut redis = redis::Client::open(context.stack.component("redis", "redis")?)?
        .get_multiplexed_async_connection()
        .await
        .context("Redis")?;
    let dead_before = datastorage.metrics().await?;

    context.control()?.stop(PostgreSql).await?;
    let first = event(&correlation, "gateway.signal.received", Duration::from_secs(2));
    datastorage.write(&first).await?.expect(202)?;
    let garbage = context.named("no JSON");
    redis::cmd("XADD")
        .arg(&[STREAM, "*", "event", &garbage])
        .query_async::<String>(&mut redis)
        .await?;
    let second = event(&correlation, "gateway.signal.received", Duration::from_secs(1));
    datastorage.write(&second).await?.expect(202)?;
    context.control()?.start(PostgreSql).await?;

    datastorage
        .events_when(2, &correlation, Duration::from_secs(30))
        .await?;
    let dead = until(SET_ASIDE, "the poison entry among the dead letters", async || {
        let range: StreamRangeReply = redis::cmd("XRANGE")
            .arg(&[DEAD, "-", "+"])
            .query_async(&mut redis)
            .await?;
        let found = range
            .ids
            .iter()
            .find(|entry| format!("{:?}", entry.map).contains(&garbage))
            .cloned();
        Ok(found.map_or_else(
            || Seen::NotYet(format!("{} dead letters", range.ids.len())),
            Seen::Yes,
        ))
    })
    .await?;
    let reason: Option<String> = dead.get("reason");
    ensure!(
        reason.is_some_and(|reason| !reason.is_empty()),
        "expected a reason in the dead letter {:?}",
        dead.map
    );
    let left: StreamRangeReply = redis::cmd("XRANGE")
        .arg(&[STREAM, "-", "+"])
        .query_async(&mut redis)
        .await?;
    ensure!(
        left.ids.is_empty(),
        "expected an empty stream, found {:?}",
        left.ids
    );
    let dead_after = datastorage.metrics().await?;
    let counted = dead_after.grown_since(&dead_before, "datastorage_dlq_dead_total", &[]);
    ensure!(
        counted == 1.0,
        "expected datastorage_dlq_dead_total to grow by 1, it grew by {counted}"
    );
    datastorage
        .verify_chain(&correlation)
        .await?
        .has("/is_valid", json!(true))?;
    redis::cmd("XDEL")
        .arg(&[DEAD, &dead.id])
        .query_async::<i64>(&mut redis)
        .await?;
    Ok(())
}
