//! The record of notifications to people.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::datastorage::{NOTIFICATIONS, notification};
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "s08_a_notification_is_recorded_once_and_an_invalid_one_never",
    |c| Box::pin(notifications(c)),
)
.shares(&[DataStorage, PostgreSql])];

async fn notifications(context: &Context) -> Result<()> {
    const AT_ONCE: usize = 10;
    let datastorage = context.datastorage();
    let good = notification(&context.named("first"));
    datastorage.post(NOTIFICATIONS, &good).await?.expect(201)?;
    datastorage
        .post(NOTIFICATIONS, &good)
        .await?
        .is_problem(409, &[&context.named("first")])?;

    let contended = notification(&context.named("contended"));
    let responses = try_join_all((0..AT_ONCE).map(|_| datastorage.post(NOTIFICATIONS, &contended))).await?;
    let mut statuses: Vec<_> = responses.iter().map(|response| response.status).collect();
    statuses.sort_unstable();
    let expected: Vec<u16> = std::iter::once(201)
        .chain(std::iter::repeat_n(409, AT_ONCE - 1))
        .collect();
    ensure!(
        statuses == expected,
        "expected one 201 and otherwise 409, found {statuses:?}: {}",
        responses[0]
    );

    let rejected = context.named("rejected");
    let with = |field: &str, value: Value| {
        let mut body = notification(&rejected);
        body[field] = value;
        body
    };
    let cases = [
        ("no recipient", with("recipient", Value::Null), "recipient"),
        ("no channel", with("channel", json!("")), "channel"),
        (
            "channel too long",
            with("channel", json!("x".repeat(51))),
            "channel",
        ),
        ("unknown status", with("status", json!("lost")), "status"),
        ("no time", with("sent_at", json!("now")), "sent_at"),
        (
            "escalation a text",
            with("escalation_level", json!("high")),
            "escalation_level",
        ),
        ("an unknown field", with("colour", json!("red")), "colour"),
    ];
    for (wrong, body, field) in cases {
        let response = datastorage.post(NOTIFICATIONS, &body).await?;
        response
            .is_problem(400, &[field])?
            .has("/errors/0/field", field)
            .with_context(|| wrong.to_owned())?;
    }
    // The rejected ones leave nothing that conflicts.
    datastorage
        .post(NOTIFICATIONS, &notification(&rejected))
        .await?
        .expect(201)?;
    Ok(())
}
