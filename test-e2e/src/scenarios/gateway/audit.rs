//! The Gateway's audit events in DataStorage.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::gateway::Alert;
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, Gateway, Kubernetes, PostgreSql};
use crate::harness::scenario::Requirement::Kubeconfig;
use crate::harness::scenario::Scenario;

/// Maximum time until a batch of events has arrived.
const DELIVERED: Duration = Duration::from_secs(20);

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "g14_a_new_signal_has_two_audit_events_under_the_requests_name",
        |c| Box::pin(new_signal(c)),
    )
    .shares(&[Gateway, Kubernetes, DataStorage, PostgreSql])
    .requires(&[Kubeconfig])
    .takes(2, 60),
    Scenario::new("g20_every_duplicate_has_its_own_audit_event", |c| {
        Box::pin(duplicates(c))
    })
    .shares(&[Gateway, Kubernetes, DataStorage, PostgreSql])
    .requires(&[Kubeconfig])
    .takes(2, 60),
];

async fn new_signal(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let alert = Alert::new("HighMemoryUsage", &namespace, "payment-api-789").label("severity", "critical");
    let response = context.gateway().alert(&alert).await?.expect(201)?;
    let (name, fingerprint) = (
        response.text_at("/remediationRequestName")?,
        response.text_at("/fingerprint")?,
    );

    let events = context.datastorage().events_when(2, &name, DELIVERED).await?;
    let named = |event_type: &str| {
        let event = events.iter().find(|event| event["event_type"] == event_type);
        event.with_context(|| format!("no {event_type} among {events:#?}"))
    };
    let (received, created) = (named("gateway.signal.received")?, named("gateway.crd.created")?);
    check_event(received, &name, &namespace, &fingerprint).context("gateway.signal.received")?;
    check_event(created, &name, &namespace, &fingerprint).context("gateway.crd.created")?;
    let (parent, id) = (&created["parent_event_id"], &received["event_id"]);
    ensure!(
        parent == id,
        "expected the request's event to name the signal's as its parent: {parent}, not {id}"
    );
    Ok(())
}

async fn duplicates(context: &Context) -> Result<()> {
    const REPEATS: usize = 20;
    let namespace = context.namespace().await?;
    let alert = Alert::new("HighMemoryUsage", &namespace, "payment-api-789");
    let first = context.gateway().alert(&alert).await?.expect(201)?;
    let repeat = async || context.gateway().alert(&alert).await?.expect(202);
    try_join_all((0..REPEATS).map(|_| repeat())).await?;

    let name = first.text_at("/remediationRequestName")?;
    let events = context
        .datastorage()
        .events_when(REPEATS + 2, &name, DELIVERED)
        .await?;
    let mut types = BTreeMap::new();
    for event in &events {
        *types
            .entry(event["event_type"].as_str().unwrap_or_default())
            .or_insert(0) += 1;
    }
    let expected = BTreeMap::from([
        ("gateway.signal.received", 1),
        ("gateway.crd.created", 1),
        ("gateway.signal.deduplicated", REPEATS),
    ]);
    ensure!(
        types == expected,
        "expected the events {expected:?}, found {types:?}"
    );
    Ok(())
}

fn check_event(event: &Value, request: &str, namespace: &str, fingerprint: &str) -> Result<()> {
    for (field, expected) in [
        ("correlation_id", json!(request)),
        ("event_category", json!("gateway")),
        ("event_outcome", json!("success")),
        ("actor_id", json!("gateway")),
        ("namespace", json!(namespace)),
        ("severity", json!("critical")),
        ("resource_type", json!("Pod")),
        ("resource_id", json!("payment-api-789")),
    ] {
        ensure!(
            event[field] == expected,
            "expected {field} {expected}, found {} in {event:#}",
            event[field]
        );
    }
    ensure!(
        event["event_action"]
            .as_str()
            .is_some_and(|action| !action.is_empty()),
        "no event_action in {event:#}"
    );
    let when: Timestamp = event["event_timestamp"]
        .as_str()
        .context("no event_timestamp")?
        .parse()?;
    let ago = Timestamp::now().as_second() - when.as_second();
    ensure!(
        (-60..60).contains(&ago),
        "expected event_timestamp to be now, it is {ago} s ago"
    );
    let data = event["event_data"].to_string();
    ensure!(
        data.contains(fingerprint),
        "expected the fingerprint in event_data, found {data}"
    );
    Ok(())
}
