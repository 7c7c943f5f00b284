//! PostgreSQL that responds and cannot store.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::datastorage::{event, stored_whole};
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql, Redis};
use crate::harness::scenario::Requirement::SqlAdmin;
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "s25_a_full_postgresql_disk_is_never_acknowledged_as_stored",
    |c| Box::pin(disk_full(c)),
)
.shares(&[DataStorage, Redis])
.alone(&[PostgreSql])
.requires(&[SqlAdmin])
.takes(10, 180)];

/// PostgreSQL's error for a full disk, raised at each insert: really filling a disk would affect everything on it.
const FULL: &str = "
    CREATE FUNCTION e2e_disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
    END $$;
    CREATE TRIGGER e2e_disk_is_full BEFORE INSERT ON audit_events FOR EACH STATEMENT
        EXECUTE FUNCTION e2e_disk_is_full();";
const FREE: &str = "
    DROP TRIGGER IF EXISTS e2e_disk_is_full ON audit_events;
    DROP FUNCTION IF EXISTS e2e_disk_is_full();";

async fn disk_full(context: &Context) -> Result<()> {
    let (datastorage, correlation) = (context.datastorage(), context.named("full"));
    let sql = context.sql_admin().await?;
    context.undo_by_sql(FREE);
    sql.batch_execute(FULL).await.context("as superuser")?;
    let mut acknowledged = Vec::new();
    for number in 0..10 {
        let event = event(
            &correlation,
            "gateway.signal.received",
            Duration::from_secs(60 - number),
        );
        let response = datastorage.write(&event).await?;
        match response.status {
            202 => acknowledged.push(event),
            503 => {
                response.ensure(response.header("retry-after").is_some(), "expected Retry-After")?;
            }
            _ => return Err(response.wrong("expected 202 or 503")),
        }
        let stored = datastorage.events(&correlation).await?;
        ensure!(
            stored.is_empty(),
            "nothing can be stored, but {} events are",
            stored.len()
        );
    }
    sql.batch_execute(FREE).await.context("as superuser")?;
    // The retry delays have grown meanwhile.
    let stored = datastorage
        .events_when(acknowledged.len(), &correlation, Duration::from_secs(60))
        .await?;
    for sent in &acknowledged {
        let found = stored
            .iter()
            .find(|stored| stored["event_id"] == sent["event_id"]);
        stored_whole(
            sent,
            found.with_context(|| format!("acknowledged but not stored: {sent}"))?,
        )?;
    }
    datastorage
        .write(&event(&correlation, "gateway.signal.received", Duration::ZERO))
        .await?
        .expect(201)?;
    Ok(())
}
