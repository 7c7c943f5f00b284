//! Stream entries that cannot be stored.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamRangeReply};
use serde_json::{Value, json};

use crate::datastorage::{event, stored_whole};
use crate::harness::context::Context;
use crate::harness::part::Part::{self, DataStorage, PostgreSql};
use crate::harness::scenario::Requirement::{Control, Programs, Redis, SqlAdmin};
use crate::harness::scenario::Scenario;
use crate::instance::Program;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "s19_an_unstorable_entry_is_dead_lettered_with_its_reason_and_stored_on_retry",
    |c| Box::pin(unstorable_entry(c)),
)
.shares(&[DataStorage])
.alone(&[PostgreSql, Part::Redis])
.requires(&[Control, Programs, Redis, SqlAdmin])
.takes(20, 240)];

const STREAM: &str = "audit:dlq:events";
const DEAD: &str = "audit:dead-letter:events";
/// Five attempts with growing delays.
const DEAD_LETTERED: Duration = Duration::from_secs(60);
const STORED: Duration = Duration::from_secs(30);

async fn unstorable_entry(context: &Context) -> Result<()> {
    let (datastorage, correlation) = (context.datastorage(), context.named("flows"));
    let rejected = context.named("rejected");
    let mut redis = redis::Client::open(context.stack.component("redis", "redis")?)?
        .get_multiplexed_async_connection()
        .await
        .context("Redis")?;
    let before = datastorage.metrics().await?;
    let allow = reject(context, &rejected).await?;

    context.control()?.stop(PostgreSql).await?;
    let first = event(&correlation, "gateway.signal.received", Duration::from_secs(2));
    datastorage.write(&first).await?.expect(202)?;
    let garbage = context.named("no JSON");
    redis::cmd("XADD")
        .arg(&[STREAM, "*", "event", &garbage])
        .query_async::<String>(&mut redis)
        .await?;
    let in_the_way = event(&rejected, "gateway.signal.received", Duration::from_secs(1));
    datastorage.write(&in_the_way).await?.expect(202)?;
    let second = event(&correlation, "gateway.signal.received", Duration::from_secs(1));
    datastorage.write(&second).await?.expect(202)?;
    context.control()?.start(PostgreSql).await?;

    datastorage.events_when(2, &correlation, STORED).await?;
    let id = in_the_way["event_id"].as_str().unwrap_or_default();
    let (unreadable, rejected_entry) = (dead(&mut redis, &garbage).await?, dead(&mut redis, id).await?);
    for entry in [&unreadable, &rejected_entry] {
        let reason: Option<String> = entry.get("reason");
        ensure!(
            reason.is_some_and(|reason| !reason.is_empty()),
            "expected a reason in {:?}",
            entry.map
        );
    }
    let left: StreamRangeReply = redis::cmd("XRANGE")
        .arg(&[STREAM, "-", "+"])
        .query_async(&mut redis)
        .await?;
    ensure!(
        left.ids.is_empty(),
        "expected an empty stream, found {:?}",
        left.ids
    );
    let counted = datastorage
        .metrics()
        .await?
        .grown_since(&before, "datastorage_dead_lettered_total", &[]);
    ensure!(
        counted == 2.0,
        "expected datastorage_dead_lettered_total to grow by 2, it grew by {counted}"
    );

    let operator = Program::datastorage(context, &json!({}))?;
    let listed = operator.run(&["dlq", "list"])?;
    let line = listed
        .lines()
        .find(|line| line.contains(id))
        .with_context(|| format!("{id} is not in {listed}"))?;
    let letter: Value = serde_json::from_str(line)?;
    ensure!(
        letter["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
        "expected a reason in {line}"
    );

    // With the cause removed, an operator retries one and drops the other.
    context.sql_admin().await?.batch_execute(&allow).await?;
    operator.run(&["dlq", "retry", &rejected_entry.id])?;
    let stored = datastorage.events_when(1, &rejected, STORED).await?;
    stored_whole(&in_the_way, &stored[0])?;
    operator.run(&["dlq", "drop", &unreadable.id])?;
    let listed = operator.run(&["dlq", "list"])?;
    ensure!(
        !listed.contains(id) && !listed.contains(&garbage),
        "expected neither of the two in {listed}"
    );
    datastorage
        .verify_chain(&correlation)
        .await?
        .has("/is_valid", true)?;
    Ok(())
}

/// Makes the database reject the events of a correlation; returns the statements that end that.
async fn reject(context: &Context, correlation: &str) -> Result<String> {
    let name = context.named("rejects").replace('-', "_");
    let allow = format!("DROP TRIGGER IF EXISTS {name} ON audit_events; DROP FUNCTION IF EXISTS {name}();");
    context.undo_by_sql(allow.clone());
    let reject = format!(
        "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             RAISE EXCEPTION 'not this one' USING ERRCODE = 'check_violation';
         END $$;
         CREATE TRIGGER {name} BEFORE INSERT ON audit_events FOR EACH ROW
             WHEN (NEW.correlation_id = '{correlation}') EXECUTE FUNCTION {name}();"
    );
    context
        .sql_admin()
        .await?
        .batch_execute(&reject)
        .await
        .context("as superuser")?;
    Ok(allow)
}

/// Waits for the dead letter that contains this text.
async fn dead(redis: &mut MultiplexedConnection, text: &str) -> Result<StreamId> {
    until(DEAD_LETTERED, &format!("a dead letter with {text}"), async || {
        let letters: StreamRangeReply = redis::cmd("XRANGE")
            .arg(&[DEAD, "-", "+"])
            .query_async(redis)
            .await?;
        let found = letters
            .ids
            .iter()
            .find(|letter| format!("{:?}", readable(letter)).contains(text))
            .cloned();
        Ok(found.map_or_else(
            || Seen::NotYet(format!("{} others", letters.ids.len())),
            Seen::Yes,
        ))
    })
    .await
}

/// The fields of an entry as strings.
fn readable(entry: &StreamId) -> Vec<String> {
    entry
        .map
        .keys()
        .filter_map(|field| entry.get::<String>(field))
        .collect()
}
