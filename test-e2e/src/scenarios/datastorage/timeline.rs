//! The history of a remediation, as readers query it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::datastorage::{before_now, event, stored_whole};
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "s01_events_of_five_services_are_returned_in_order_by_correlation",
        |c| Box::pin(five_services(c)),
    )
    .shares(&[DataStorage, PostgreSql]),
    Scenario::new("s03_filters_and_both_kinds_of_paging_agree", |c| {
        Box::pin(filters_and_pages(c))
    })
    .shares(&[DataStorage, PostgreSql])
    .takes(2, 60),
];

async fn five_services(context: &Context) -> Result<()> {
    let correlation = context.named("remediation");
    let story = [
        ("gateway", "gateway.signal.received", "received"),
        ("signalprocessing", "signalprocessing.enriched", "enriched"),
        ("analysis", "analysis.completed", "analyzed"),
        ("execution", "execution.workflow.completed", "executed"),
        ("notification", "notification.sent", "sent"),
    ];
    let mut sent = Vec::new();
    for (step, (category, event_type, action)) in story.into_iter().enumerate() {
        let seconds = 60 * (story.len() - step) as u64;
        let mut event = event(&correlation, event_type, Duration::from_secs(seconds));
        event["event_category"] = json!(category);
        event["event_action"] = json!(action);
        event["actor_id"] = json!(category);
        let response = context.datastorage().write(&event).await?.expect(201)?;
        response.has("/event_id", event["event_id"].clone())?;
        sent.push(event);
    }
    let page = context
        .datastorage()
        .query()?
        .query("correlation_id", &correlation)
        .send()
        .await?
        .expect(200)?;
    page.has("/pagination/total", story.len())?
        .has("/pagination/has_more", false)?;
    let stored = page.at("/data")?;
    let stored = stored.as_array().map(Vec::as_slice).unwrap_or_default();
    page.ensure(stored.len() == story.len(), "expected the five events")?;
    for (sent, stored) in sent.iter().rev().zip(stored) {
        stored_whole(sent, stored).context("newest first")?;
        let id = stored["event_id"].as_str().unwrap_or_default();
        let url = context.datastorage().url(&format!("/api/v1/audit/events/{id}"))?;
        let one = context.http.get(url).send().await?.expect(200)?;
        one.ensure(
            one.json()? == *stored,
            format!("expected the event as in the list: {stored}"),
        )?;
    }
    Ok(())
}

async fn filters_and_pages(context: &Context) -> Result<()> {
    const HOUR: Duration = Duration::from_secs(3_600);
    const EVENTS: u32 = 48;
    let correlation = context.named("timeline");
    // One event an hour, not on the hour, so that no time limit coincides with one.
    let sent: Vec<_> = (0..EVENTS)
        .map(|hours| {
            let mut event = event(
                &correlation,
                ["a.received", "a.created"][hours as usize % 2],
                hours * HOUR + HOUR / 2,
            );
            event["event_category"] = json!(["gateway", "analysis", "execution"][hours as usize % 3]);
            event["event_outcome"] = json!(["success", "success", "failure", "pending"][hours as usize % 4]);
            event["severity"] =
                json!(["critical", "info", "warning", "info", "info", "info"][hours as usize % 6]);
            event["event_data"] = json!({"team": (["red", "blue"][hours as usize % 2]), "hours": hours});
            event
        })
        .collect();
    context.datastorage().write_batch(&sent).await?.expect(201)?;
    let ids = |events: &[Value]| {
        events
            .iter()
            .map(|event| event["event_id"].clone())
            .collect::<Vec<_>>()
    };
    let all = ids(&sent);

    let expect = async |filters: &[(&str, &str)], expected: Vec<Value>| -> Result<()> {
        let mut query = context
            .datastorage()
            .query()?
            .query("correlation_id", &correlation)
            .query("limit", 1_000);
        for (name, value) in filters {
            query = query.query(name, value);
        }
        let page = query.send().await?.expect(200)?;
        page.has("/pagination/total", expected.len())?;
        let found = ids(page
            .at("/data")?
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default());
        page.ensure(found == expected, format!("expected the events {expected:?}"))?;
        Ok(())
    };
    let which = |field: &str, value: &str| {
        ids(&sent
            .iter()
            .filter(|event| event[field] == value)
            .cloned()
            .collect::<Vec<_>>())
    };
    expect(&[], all.clone()).await?;
    for (field, value) in [
        ("event_type", "a.created"),
        ("event_category", "analysis"),
        ("event_outcome", "failure"),
        ("severity", "critical"),
    ] {
        expect(&[(field, value)], which(field, value)).await?;
    }
    let red: Vec<_> = all.iter().step_by(2).cloned().collect();
    expect(&[("detail_key", "team"), ("detail_value", "red")], red).await?;
    let both: Vec<_> = all.iter().step_by(6).cloned().collect();
    expect(
        &[("event_type", "a.received"), ("event_category", "gateway")],
        both,
    )
    .await?;

    let day_ago = before_now(24 * HOUR);
    expect(&[("since", "24h")], all[..24].to_vec()).await?;
    expect(&[("since", "90m")], all[..1].to_vec()).await?;
    expect(&[("since", "1d")], all[..24].to_vec()).await?;
    expect(&[("since", &day_ago)], all[..24].to_vec()).await?;
    expect(&[("until", &day_ago)], all[24..].to_vec()).await?;
    expect(&[("since", "30h"), ("until", &day_ago)], all[24..30].to_vec()).await?;
    let wrong = context
        .datastorage()
        .query()?
        .query("since", "yesterday")
        .send()
        .await?;
    wrong.is_problem(400, &["since"])?;

    for size in [1, 7, 48, 100] {
        let by_offset = pages(context, &correlation, size, Paging::Offset).await?;
        let by_cursor = pages(context, &correlation, size, Paging::Cursor).await?;
        ensure!(
            by_offset == all,
            "pages of {size} by offset give {by_offset:?}, not {all:?}"
        );
        ensure!(
            by_cursor == all,
            "pages of {size} by cursor give {by_cursor:?}, not {all:?}"
        );
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Paging {
    Offset,
    Cursor,
}

/// The ids of all pages, in order.
async fn pages(context: &Context, correlation: &str, size: usize, paging: Paging) -> Result<Vec<Value>> {
    let mut ids = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = context
            .datastorage()
            .query()?
            .query("correlation_id", correlation)
            .query("limit", size);
        query = match &cursor {
            Some(cursor) => query.query("cursor", cursor),
            None => query.query("offset", ids.len()),
        };
        let page = query.send().await?.expect(200)?;
        let found = page.at("/data")?;
        let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
        page.ensure(found.len() <= size, format!("expected at most {size} events"))?;
        ids.extend(found.iter().map(|event| event["event_id"].clone()));
        let more = page.at("/pagination/has_more")? == json!(true);
        if !more {
            return Ok(ids);
        }
        page.ensure(
            !found.is_empty(),
            "expected events on a page that says there are more",
        )?;
        if paging == Paging::Cursor {
            cursor = Some(page.text_at("/pagination/next_cursor")?);
        }
    }
}
