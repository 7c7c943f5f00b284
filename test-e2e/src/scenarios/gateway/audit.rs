//! What the Gateway did, told to DataStorage.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::gateway::Alert;
use crate::harness::context::Context;
use crate::harness::scenario::Part::{DataStorage, Gateway, Kubernetes, PostgreSql};
use crate::harness::scenario::Requirement::Kubeconfig;
use crate::harness::scenario::Scenario;

/// Events go out in batches: after this they are there.
const DELIVERED: Duration = Duration::from_secs(20);

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "g14_a_new_signal_leaves_two_audit_events_under_the_requests_name",
    |c| Box::pin(new_signal(c)),
)
.shares(&[Gateway, Kubernetes, DataStorage, PostgreSql])
.requires(&[Kubeconfig])
.takes(2, 60)];

async fn new_signal(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let alert = Alert::new("HighMemoryUsage", &namespace, "payment-api-789").label("severity", "critical");
    let answer = context.gateway().alert(&alert).await?.expect(201)?;
    let (name, fingerprint) = (
        answer.text_at("/remediationRequestName")?,
        answer.text_at("/fingerprint")?,
    );

    let events = context.datastorage().events_when(2, &name, DELIVERED).await?;
    for event_type in ["gateway.signal.received", "gateway.crd.created"] {
        let event = events.iter().find(|event| event["event_type"] == event_type);
        let event = event.with_context(|| format!("no {event_type} among {events:#?}"))?;
        check_event(event, &name, &namespace, &fingerprint).with_context(|| event_type.to_owned())?;
    }
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
