//! Processes that are killed or replaced, and both stores unavailable at once.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::datastorage::event;
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql, Redis};
use crate::harness::readiness;
use crate::harness::scenario::Requirement::{Control, Rollout, SqlAdmin};
use crate::harness::scenario::Scenario;
use crate::http::Response;
use crate::load::Events;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("s06_eighty_concurrent_writers_are_all_served", |c| {
        Box::pin(eighty_writers(c))
    })
    .shares(&[DataStorage, PostgreSql])
    .takes(5, 120),
    Scenario::new(
        "s14_every_acknowledged_event_survives_a_kill_of_datastorage",
        |c| Box::pin(killed(c)),
    )
    .shares(&[PostgreSql, Redis])
    .alone(&[DataStorage])
    .requires(&[Control, SqlAdmin])
    .takes(20, 240),
    Scenario::new("s15_without_both_stores_nothing_is_acknowledged", |c| {
        Box::pin(without_both_stores(c))
    })
    .shares(&[DataStorage])
    .alone(&[PostgreSql, Redis])
    .requires(&[Control])
    .takes(20, 240),
    Scenario::new("s16_the_stream_survives_a_kill_of_redis", |c| {
        Box::pin(redis_killed(c))
    })
    .shares(&[DataStorage])
    .alone(&[PostgreSql, Redis])
    .requires(&[Control])
    .takes(25, 300),
    Scenario::new(
        "s23_a_rolling_restart_under_writes_fails_none_and_loses_none",
        |c| Box::pin(rolling_restart(c)),
    )
    .shares(&[PostgreSql, Redis])
    .alone(&[DataStorage])
    .requires(&[Control, Rollout])
    .takes(15, 240),
];

/// Maximum time from the end of the last fault to the last row.
const STORED: Duration = Duration::from_secs(30);

async fn eighty_writers(context: &Context) -> Result<()> {
    let events = Events::new(context, 80, 1_600);
    events.during(events.more(1_600)).await?;
    events.tries().none()?;
    events.are_stored(STORED).await
}

async fn killed(context: &Context) -> Result<()> {
    let events = Events::new(context, 16, 500);
    let fault = async {
        events.more(500).await?;
        // A lock holds the writes at their commit, so that the kill meets them there.
        let sql = context.sql_admin().await?;
        sql.batch_execute("BEGIN; LOCK TABLE audit_events IN EXCLUSIVE MODE")
            .await?;
        until(
            Duration::from_secs(30),
            "a write to wait for the lock",
            async || {
                let waiting =
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'audit_events'::regclass";
                Ok(match sql.query_one(waiting, &[]).await?.get(0) {
                    0_i64 => Seen::NotYet("none waits".to_owned()),
                    _ => Seen::Yes(()),
                })
            },
        )
        .await?;
        context.control()?.kill(DataStorage).await?;
        sql.batch_execute("ROLLBACK").await?;
        context.control()?.start(DataStorage).await?;
        events.more(500).await
    };
    events.during(fault).await?;
    ensure!(
        events.tries().without_response() > 0,
        "the kill met no write: {:?}",
        events.tries()
    );
    events.are_stored(STORED).await
}

async fn without_both_stores(context: &Context) -> Result<()> {
    let (datastorage, correlation) = (context.datastorage(), context.named("outage"));
    // Over existing connections: in a cluster no new one reaches a pod that is not ready.
    datastorage.health("/readyz").await?.expect(200)?;
    ensure!(datastorage.events(&correlation).await?.is_empty());
    context.control()?.stop(Redis).await?;
    context.control()?.stop(PostgreSql).await?;
    until(Duration::from_secs(30), "readiness to end", async || {
        let ready = datastorage.health("/readyz").await?;
        Ok(if ready.status == 503 {
            Seen::Yes(())
        } else {
            Seen::NotYet(ready.to_string())
        })
    })
    .await?;
    kept_open(async || datastorage.health("/healthz").await)
        .await?
        .expect(200)?;
    for _ in 0..10 {
        let write = event(&correlation, "gateway.signal.received", Duration::ZERO);
        for response in [
            kept_open(async || datastorage.write(&write).await).await?,
            kept_open(async || datastorage.write_batch(std::slice::from_ref(&write)).await).await?,
        ] {
            response.is_problem(503, &[])?;
            let seconds: Option<u64> = response
                .header("retry-after")
                .and_then(|seconds| seconds.parse().ok());
            response.ensure(
                seconds.is_some_and(|seconds| seconds > 0),
                "expected Retry-After in seconds",
            )?;
        }
    }

    context.control()?.start(PostgreSql).await?;
    context.control()?.start(Redis).await?;
    readiness::wait_for(&context.stack, [PostgreSql, Redis, DataStorage]).await?;
    let stored = datastorage.events(&correlation).await?;
    ensure!(
        stored.is_empty(),
        "nothing was acknowledged, but {} events are stored",
        stored.len()
    );
    datastorage
        .write(&event(&correlation, "gateway.signal.received", Duration::ZERO))
        .await?
        .expect(201)?;
    Ok(())
}

/// Time in which the client's pool gets a connection back after its last response.
const UNTIL_IDLE: Duration = Duration::from_millis(100);

/// A response over the existing connection. The pool gets it back only a moment after its last response: an earlier
/// request would open a new one, which a cluster rejects, and the pool may drop the existing one together with it.
async fn kept_open(ask: impl AsyncFn() -> Result<Response>) -> Result<Response> {
    tokio::time::sleep(UNTIL_IDLE).await;
    ask().await
}

async fn redis_killed(context: &Context) -> Result<()> {
    let events = Events::new(context, 4, 20);
    let faults = async {
        events.more(10).await?;
        context.control()?.stop(PostgreSql).await?;
        events.more(40).await?;
        context.control()?.kill(Redis).await?;
        context.control()?.start(Redis).await?;
        events.more(20).await?;
        context.control()?.start(PostgreSql).await?;
        events.more(10).await
    };
    events.during(faults).await?;
    events.are_stored(STORED).await
}

async fn rolling_restart(context: &Context) -> Result<()> {
    let events = Events::new(context, 8, 100).only_while_ready()?;
    let restart = async {
        events.more(50).await?;
        context.control()?.restart(DataStorage).await?;
        events.more(50).await
    };
    events.during(restart).await?;
    events.tries().none()?;
    events.are_stored(STORED).await
}
