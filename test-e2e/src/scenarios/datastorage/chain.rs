//! A history that proves that it was not altered.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::datastorage::event;
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::scenario::Requirement::SqlAdmin;
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("s11_altered_deleted_and_inserted_rows_are_each_reported", |c| {
        Box::pin(tampering(c))
    })
    .shares(&[DataStorage, PostgreSql])
    .requires(&[SqlAdmin])
    .takes(2, 60),
    Scenario::new("s12_events_that_arrive_out_of_order_keep_the_chain_valid", |c| {
        Box::pin(out_of_order(c))
    })
    .shares(&[DataStorage, PostgreSql]),
];

const EVENTS: usize = 6;

/// Creates a chain and returns the ids of its events in the order of the chain.
async fn chain(context: &Context, correlation: &str) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for number in 0..EVENTS {
        let mut event = event(correlation, "execution.step.completed", Duration::from_secs(60));
        event["event_data"] = json!({"step": number, "amount": 100 + number});
        context.datastorage().write(&event).await?.expect(201)?;
        ids.push(event["event_id"].as_str().unwrap_or_default().to_owned());
    }
    let verified = context.datastorage().verify_chain(correlation).await?;
    verified
        .has("/is_valid", true)?
        .has("/total_events", EVENTS)?
        .has("/verified_events", EVENTS)?;
    verified.has("/tampered_events", json!([]))?;
    Ok(ids)
}

async fn tampering(context: &Context) -> Result<()> {
    let sql = context.sql_admin().await?;
    let run = async |statement: &str| {
        sql.batch_execute(statement)
            .await
            .with_context(|| format!("as superuser: {statement}"))
    };
    let (altered, deleted, inserted) = (
        context.named("altered"),
        context.named("deleted"),
        context.named("inserted"),
    );
    let ids = [
        chain(context, &altered).await?,
        chain(context, &deleted).await?,
        chain(context, &inserted).await?,
    ];

    let update = format!(
        "UPDATE audit_events SET event_data = jsonb_set(event_data, '{{amount}}', '1') WHERE event_id = '{}'",
        ids[0][2]
    );
    let rejected = sql.batch_execute(&update).await;
    ensure!(rejected.is_err(), "a row was altered by a plain UPDATE");
    // Only a superuser can disable the triggers, and this attacker has to be detected.
    run("SET session_replication_role = replica").await?;
    run(&update).await?;
    run(&format!(
        "DELETE FROM audit_events WHERE event_id = '{}'",
        ids[1][3]
    ))
    .await?;
    let forged =
        "0190b0a0-0000-7000-8000-".to_owned() + &context.token()[context.token().len() - 8..] + "0000";
    run(&format!(
        "CREATE TEMPORARY TABLE forged AS SELECT * FROM audit_events WHERE event_id = '{last}';
         UPDATE forged SET event_id = '{forged}', sequence = sequence + 1, previous_hash = event_hash;
         INSERT INTO audit_events SELECT * FROM forged;",
        last = ids[2][EVENTS - 1],
    ))
    .await?;

    for (correlation, kind, named) in [
        (&altered, "altered", &ids[0][2]),
        (&deleted, "missing", &ids[1][3]),
        (&inserted, "inserted", &forged),
    ] {
        let verified = context.datastorage().verify_chain(correlation).await?;
        verified.has("/is_valid", false)?;
        let tampered = verified.at("/tampered_events")?.as_array().map_or(0, Vec::len);
        verified.ensure(tampered == 1, format!("expected one event to be {kind}"))?;
        verified.has("/tampered_events/0/kind", kind)?;
        // A deleted row leaves only its position in the chain.
        if kind == "missing" {
            verified.has("/tampered_events/0/sequence", 4)?;
        } else {
            verified.has("/tampered_events/0/event_id", named.as_str())?;
        }
    }
    Ok(())
}

async fn out_of_order(context: &Context) -> Result<()> {
    const AT_ONCE: u64 = 30;
    let correlation = context.named("late");
    let datastorage = context.datastorage();
    let write = async |number: u64| {
        // Later positions have earlier timestamps, by up to six days.
        let event = event(
            &correlation,
            "execution.step.completed",
            Duration::from_secs(number * 17_000),
        );
        datastorage.write(&event).await?.expect(201)
    };
    try_join_all((0..AT_ONCE).map(write)).await?;
    write(AT_ONCE).await?;
    let verified = datastorage.verify_chain(&correlation).await?;
    verified
        .has("/is_valid", true)?
        .has("/total_events", AT_ONCE + 1)?
        .has("/verified_events", AT_ONCE + 1)?;

    let stored = datastorage.events(&correlation).await?;
    let mut places: Vec<_> = stored
        .iter()
        .filter_map(|event| event["sequence"].as_u64())
        .collect();
    let times: Vec<_> = stored
        .iter()
        .map(|event| event["event_timestamp"].to_string())
        .collect();
    ensure!(
        times.is_sorted_by(|newer, older| newer >= older),
        "expected the newest first, found {times:?}"
    );
    places.sort_unstable();
    ensure!(
        places == (1..=AT_ONCE + 1).collect::<Vec<_>>(),
        "expected each position of the chain once: {places:?}"
    );
    let newest = stored
        .iter()
        .find(|event| event["sequence"] == json!(AT_ONCE + 1));
    let last: &Value = stored.last().context("no events")?;
    ensure!(
        newest == Some(last),
        "expected the event written last, the oldest by its own time, to be listed last"
    );
    Ok(())
}
