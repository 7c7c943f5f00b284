//! Retention, legal holds and partitions.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::datastorage::event;
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::readiness;
use crate::harness::scenario::Requirement::{Control, SqlAdmin};
use crate::harness::scenario::Scenario;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("s13_events_under_legal_hold_survive_retention_and_sql", |c| {
        Box::pin(legal_hold(c))
    })
    .shares(&[PostgreSql])
    .alone(&[DataStorage])
    .requires(&[Control, SqlAdmin])
    .takes(15, 180),
    Scenario::new("s17_partitions_of_coming_months_exist_after_start", |c| {
        Box::pin(partitions(c))
    })
    .alone(&[DataStorage, PostgreSql])
    .requires(&[Control, SqlAdmin])
    .takes(5, 120),
];

const HOLDS: &str = "/api/v1/audit/legal-hold";
/// Maximum time from the start to the end of retention's first run.
const REMOVED: Duration = Duration::from_secs(60);

/// Maximum time from the start to the last partition.
const MADE: Duration = Duration::from_secs(20);

/// Retention runs when DataStorage starts.
async fn run_retention(context: &Context) -> Result<()> {
    context.control()?.restart(DataStorage).await?;
    readiness::wait_for(&context.stack, [DataStorage]).await
}

/// An event of three days ago, with this retention in days.
fn expiring(correlation: &str, retention_days: u32) -> Value {
    let mut event = event(
        correlation,
        "gateway.signal.received",
        Duration::from_secs(3 * 24 * 3_600),
    );
    event["retention_days"] = json!(retention_days);
    event
}

async fn legal_hold(context: &Context) -> Result<()> {
    let datastorage = context.datastorage();
    let (held, free, long) = (
        context.named("held"),
        context.named("free"),
        context.named("long"),
    );
    for (correlation, days) in [(&held, [1, 1, 1]), (&free, [1, 1, 1]), (&long, [1, 1, 30])] {
        for days in days {
            datastorage
                .write(&expiring(correlation, days))
                .await?
                .expect(201)?;
        }
    }
    let hold = json!({"correlation_id": held, "reason": "case 7", "placed_by": "legal@payments.example"});
    let placed = datastorage.post(HOLDS, &hold).await?.expect(201)?;
    placed
        .has("/correlation_id", held.as_str())?
        .has("/placed_by", "legal@payments.example")?;
    datastorage.post(HOLDS, &hold).await?.is_problem(409, &[&held])?;

    let sql = context.sql_admin().await?;
    let delete = format!("DELETE FROM audit_events WHERE correlation_id = '{held}'");
    let rejected = sql
        .batch_execute(&delete)
        .await
        .err()
        .and_then(|error| Some(error.as_db_error()?.to_string()));
    ensure!(rejected.is_some(), "a held event was deleted by SQL");
    ensure!(
        rejected
            .as_ref()
            .is_some_and(|error| error.contains("legal hold")),
        "rejected for another reason: {rejected:?}"
    );

    run_retention(context).await?;
    is_removed(context, &free).await?;
    let kept = datastorage.events(&long).await?;
    ensure!(
        kept.len() == 1 && kept[0]["retention_days"] == json!(30),
        "expected the one of 30 days, found {kept:#?}"
    );
    datastorage
        .verify_chain(&long)
        .await?
        .has("/is_valid", true)?
        .has("/expired_events", 2)?;
    let kept = datastorage.events(&held).await?;
    ensure!(
        kept.len() == 3,
        "expected the 3 held events, found {}",
        kept.len()
    );
    datastorage
        .verify_chain(&held)
        .await?
        .has("/is_valid", true)?
        .has("/total_events", 3)?;

    let release = context
        .http
        .request(Method::DELETE, datastorage.url(HOLDS)?)
        .query("correlation_id", &held);
    release.send().await?.expect(200)?;
    run_retention(context).await?;
    is_removed(context, &held).await
}

async fn is_removed(context: &Context, correlation: &str) -> Result<()> {
    until(REMOVED, &format!("{correlation} to be removed"), async || {
        let left = context.datastorage().events(correlation).await?.len();
        Ok(if left == 0 {
            Seen::Yes(())
        } else {
            Seen::NotYet(format!("{left} events"))
        })
    })
    .await
}

async fn partitions(context: &Context) -> Result<()> {
    let sql = context.sql_admin().await?;
    let today = TimeZone::UTC.to_datetime(Timestamp::now()).date();
    let name = |months: i64| -> Result<String> {
        let month = today.checked_add(Span::new().months(months))?;
        Ok(format!("audit_events_{:04}_{:02}", month.year(), month.month()))
    };
    let coming = [name(1)?, name(2)?, name(3)?];
    let is_there = async |name: &str| -> Result<bool> {
        Ok(sql
            .query_one("SELECT to_regclass($1) IS NOT NULL", &[&name])
            .await?
            .get(0))
    };
    for partition in &coming {
        ensure!(is_there(partition).await?, "{partition} did not exist");
        sql.batch_execute(&format!("DROP TABLE {partition}"))
            .await
            .context("as superuser")?;
    }
    run_retention(context).await?;
    for partition in &coming {
        until(MADE, &format!("{partition} to be created again"), async || {
            Ok(if is_there(partition).await? {
                Seen::Yes(())
            } else {
                Seen::NotYet("it does not exist".into())
            })
        })
        .await?;
    }
    let correlation = context.named("after");
    context
        .datastorage()
        .write(&event(&correlation, "gateway.signal.received", Duration::ZERO))
        .await?
        .expect(201)?;
    Ok(())
}
