//! The content of an event.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::datastorage::{before_now, event, stored_whole};
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("s04_every_kind_of_event_is_returned_as_sent", |c| {
        Box::pin(round_trip(c))
    })
    .shares(&[DataStorage, PostgreSql]),
    Scenario::new("s27_an_event_of_a_wrong_clock_is_stored_and_marked", |c| {
        Box::pin(wrong_clocks(c))
    })
    .shares(&[DataStorage, PostgreSql]),
];

/// A clock 8 days behind, one an hour ahead, and a right one.
async fn wrong_clocks(context: &Context) -> Result<()> {
    let correlation = context.named("clocks");
    let clocks = [
        (before_now(Duration::from_secs(8 * 24 * 3600)), true),
        (
            format!("{:.3}", Timestamp::now() + Duration::from_secs(3600)),
            true,
        ),
        (before_now(Duration::from_secs(60)), false),
    ];
    for (time, is_wrong) in clocks {
        let mut event = minimal(&correlation);
        event["event_timestamp"] = json!(time);
        context.datastorage().write(&event).await?.expect(201)?;
        let id = event["event_id"].as_str().context("no id")?;
        let url = context.datastorage().url(&format!("/api/v1/audit/events/{id}"))?;
        let stored = context.http.get(url).send().await?.expect(200)?;
        stored_whole(&event, &stored.json()?)?;
        let is_marked = stored.json()?["clock_skew"] == json!(true);
        stored.ensure(is_marked == is_wrong, format!("expected clock_skew {is_wrong}"))?;
    }
    let verified = context.datastorage().verify_chain(&correlation).await?;
    verified.has("/is_valid", true)?;
    Ok(())
}

async fn round_trip(context: &Context) -> Result<()> {
    let correlation = context.named("kinds");
    let mut sent = kinds(&correlation);
    sent.extend(data(&correlation));
    let first = event(&correlation, "gateway.signal.received", Duration::from_secs(5));
    let mut child = minimal(&correlation);
    child["parent_event_id"] = first["event_id"].clone();
    sent.extend([minimal(&correlation), first, child]);

    let (singly, together) = sent.split_at(sent.len() / 2);
    for event in singly {
        context.datastorage().write(event).await?.expect(201)?;
    }
    context.datastorage().write_batch(together).await?.expect(201)?;
    let stored = context.datastorage().events(&correlation).await?;
    ensure!(
        stored.len() == sent.len(),
        "{} events were sent, {} are stored",
        sent.len(),
        stored.len()
    );
    for sent in &sent {
        let found = stored
            .iter()
            .find(|stored| stored["event_id"] == sent["event_id"]);
        let found = found.with_context(|| format!("not stored: {sent}"))?;
        stored_whole(sent, found)?;
        for field in [
            "actor_id",
            "namespace",
            "severity",
            "duration_ms",
            "error_message",
        ] {
            let invented = sent.get(field).is_none() && !found[field].is_null();
            ensure!(!invented, "{field} was not sent, but {} is stored", found[field]);
        }
    }
    Ok(())
}

/// Each category with each outcome.
fn kinds(correlation: &str) -> Vec<Value> {
    let mut events = Vec::new();
    for category in [
        "gateway",
        "notification",
        "analysis",
        "signalprocessing",
        "workflow",
        "execution",
        "orchestration",
    ] {
        for outcome in ["success", "failure", "pending"] {
            let event_type = format!("{category}.something.{outcome}");
            let mut event = event(correlation, &event_type, Duration::from_secs(60));
            event["event_category"] = json!(category);
            event["event_outcome"] = json!(outcome);
            event["error_code"] = json!("E-42");
            event["error_message"] = json!("it didn't work: \"quoted\", \\ and\nin two lines");
            events.push(event);
        }
    }
    events
}

/// Each kind of JSON value, at its limits.
fn data(correlation: &str) -> Vec<Value> {
    let nested = (0..9).fold(json!({"deepest": true}), |inner, _| json!({"in": inner}));
    [
        json!({}),
        json!({"empty": {"list": [], "object": {}, "text": "", "null": null}}),
        json!({"integers": [0, -1, i64::MAX, i64::MIN], "numbers": [0.1, -2.5, 1e-7, 1e15]}),
        json!({"texts": ["grüße", "日本語", "🦀", "\u{1}\u{7f}\t", "\u{2028}", "</script>", "' OR 1=1 --"]}),
        json!({"": "an empty key", "a.b": 1, "ключ": 2, "A": 3, "a": 4}),
        json!({"long": "x".repeat(200 * 1024)}),
        json!({"list": (0..2_000).collect::<Vec<_>>()}),
        nested,
    ]
    .into_iter()
    .map(|data| {
        let mut event = event(correlation, "analysis.completed", Duration::from_secs(30));
        event["event_data"] = data;
        event
    })
    .collect()
}

/// Only the required fields, and the id by which it is found.
fn minimal(correlation: &str) -> Value {
    json!({
        "event_id": Uuid::now_v7().to_string(),
        "version": "1.0",
        "event_type": "orchestration.began",
        "event_timestamp": before_now(Duration::ZERO),
        "event_category": "orchestration",
        "event_action": "began",
        "event_outcome": "pending",
        "correlation_id": correlation,
        "event_data": {},
    })
}
