//! Events that are rejected, and the responses.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::datastorage::{before_now, event};
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "s05_a_malformed_event_is_rejected_with_every_error_and_not_stored",
    |c| Box::pin(malformed(c)),
)
.shares(&[DataStorage, PostgreSql])];

async fn malformed(context: &Context) -> Result<()> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let correlation = context.named("malformed");
    let good = || event(&correlation, "gateway.signal.received", Duration::from_secs(1));
    let with = |changes: &[(&str, Value)]| {
        let mut event = good();
        for (field, value) in changes {
            event[*field] = value.clone();
        }
        event
    };
    let deep = (0..11).fold(json!(1), |inner, _| json!({"deeper": inner}));
    let without_required = json!({"correlation_id": correlation, "event_data": {}});
    // The error in the event, and the fields that the response must name: all of them.
    let cases: Vec<(&str, Value, &[&str])> = vec![
        (
            "nearly empty",
            without_required,
            &[
                "version",
                "event_type",
                "event_timestamp",
                "event_category",
                "event_action",
                "event_outcome",
            ],
        ),
        (
            "unknown category",
            with(&[("event_category", json!("billing"))]),
            &["event_category"],
        ),
        (
            "unknown outcome",
            with(&[("event_outcome", json!("perhaps"))]),
            &["event_outcome"],
        ),
        (
            "event_type too long",
            with(&[("event_type", json!("x".repeat(101)))]),
            &["event_type"],
        ),
        (
            "event_action too long",
            with(&[("event_action", json!("x".repeat(51)))]),
            &["event_action"],
        ),
        (
            "no time",
            with(&[("event_timestamp", json!("yesterday"))]),
            &["event_timestamp"],
        ),
        (
            "before any retention",
            with(&[("event_timestamp", json!(before_now(4_000 * DAY)))]),
            &["event_timestamp"],
        ),
        (
            "in the future",
            with(&[("event_timestamp", json!("2199-01-01T00:00:00Z"))]),
            &["event_timestamp"],
        ),
        (
            "event_data a list",
            with(&[("event_data", json!([1]))]),
            &["event_data"],
        ),
        (
            "event_data too deep",
            with(&[("event_data", deep)]),
            &["event_data"],
        ),
        (
            "event_data too large",
            with(&[("event_data", json!({"x": "x".repeat(256 * 1024)}))]),
            &["event_data"],
        ),
        (
            "event_id no UUID",
            with(&[("event_id", json!("one"))]),
            &["event_id"],
        ),
        (
            "unknown field",
            with(&[("event_kind", json!("x"))]),
            &["event_kind"],
        ),
        (
            "three at once",
            with(&[
                ("event_outcome", json!(1)),
                ("retention_days", json!(0)),
                ("duration_ms", json!(-1)),
            ]),
            &["event_outcome", "retention_days", "duration_ms"],
        ),
    ];
    for (wrong, body, fields) in cases {
        let response = context.datastorage().write(&body).await?;
        response
            .is_problem(400, fields)
            .with_context(|| wrong.to_owned())?;
        names_exactly(&response.at("/errors")?, fields).map_err(|error| response.wrong(error))?;
    }
    let stored = context.datastorage().events(&correlation).await?;
    ensure!(stored.is_empty(), "rejected events were stored: {stored:#?}");
    context.datastorage().write(&good()).await?.expect(201)?;
    Ok(())
}

/// Checks that exactly the invalid fields are named.
fn names_exactly(errors: &Value, fields: &[&str]) -> Result<()> {
    let errors = errors.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut named: Vec<_> = errors
        .iter()
        .filter_map(|error| error["field"].as_str())
        .collect();
    let mut expected = fields.to_vec();
    named.sort_unstable();
    expected.sort_unstable();
    ensure!(
        named == expected,
        "expected errors about {expected:?}, found them about {named:?}"
    );
    Ok(())
}
