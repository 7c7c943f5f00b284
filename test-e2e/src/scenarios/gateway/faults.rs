//! A Kubernetes API that throttles, conflicts or is unavailable.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::{try_join, try_join_all};
use serde_json::json;

use crate::gateway::Alert;
use crate::harness::context::Context;
use crate::harness::part::Part::{Gateway, Kubernetes};
use crate::harness::scenario::Requirement::{Faults, Kubeconfig};
use crate::harness::scenario::Scenario;
use crate::http::Response;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] = &[
    // Alone with the Gateway: failed calls may open its circuit breaker for all.
    Scenario::new("g02_a_throttled_burst_loses_no_alert", |c| Box::pin(throttled(c)))
        .shares(&[Kubernetes])
        .alone(&[Gateway])
        .requires(&[Kubeconfig, Faults])
        .takes(10, 180),
    Scenario::new(
        "g26_alerts_during_a_kubernetes_api_outage_get_503_and_are_accepted_once_afterwards",
        |c| Box::pin(outage(c)),
    )
    .alone(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig, Faults])
    .takes(40, 240),
    Scenario::new("g27_conflicts_on_the_status_lose_no_count", |c| {
        Box::pin(conflicts(c))
    })
    .shares(&[Kubernetes])
    .alone(&[Gateway])
    .requires(&[Kubeconfig, Faults])
    .takes(5, 120),
];

/// Maximum time from an outage's end to the last alert.
const ACCEPTED: Duration = Duration::from_secs(90);

/// Sends an alert until it is accepted, as Alertmanager does; returns the number of 503 responses.
async fn send_until_accepted(context: &Context, alert: &Alert) -> Result<(Response, usize)> {
    let mut delayed = 0;
    let response = until(ACCEPTED, "an alert to be accepted", async || {
        let response = context.gateway().alert(alert).await?;
        match response.status {
            201 | 202 => Ok(Seen::Yes(response)),
            503 => {
                response.is_problem(503, &[])?;
                let seconds: Option<u64> = response
                    .header("retry-after")
                    .and_then(|seconds| seconds.parse().ok());
                let Some(1..=60) = seconds else {
                    return Ok(Seen::Never(
                        response.wrong("expected Retry-After in seconds").to_string(),
                    ));
                };
                delayed += 1;
                Ok(Seen::NotYet(response.to_string()))
            }
            _ => Ok(Seen::Never(response.to_string())),
        }
    })
    .await?;
    Ok((response, delayed))
}

/// Checks that each of the alerts is one request in the namespace.
async fn one_request_each(context: &Context, namespace: &str, alerts: usize) -> Result<()> {
    let requests = context.cluster().await?.requests(namespace).await?;
    let mut pods: Vec<_> = requests
        .iter()
        .map(|request| request["spec"]["targetResource"]["name"].to_string())
        .collect();
    pods.sort_unstable();
    pods.dedup();
    ensure!(
        (requests.len(), pods.len()) == (alerts, alerts),
        "expected one request of each of {alerts} alerts, found {} of {} pods",
        requests.len(),
        pods.len()
    );
    Ok(())
}

async fn throttled(context: &Context) -> Result<()> {
    const BURST: usize = 50;
    const THROTTLED: u64 = 60;
    let namespace = context.namespace().await?;
    let fault = context
        .fault(json!({
            "method": "POST",
            "path": format!("/namespaces/{namespace}/remediationrequests"),
            "fault": "too-many-requests",
            "retryAfterSeconds": 1,
            "times": THROTTLED,
        }))
        .await?;
    try_join_all((0..BURST).map(|number| {
        let alert = Alert::new("HighMemoryUsage", &namespace, &format!("worker-{number}"));
        async move { send_until_accepted(context, &alert).await }
    }))
    .await?;
    let struck = context.cluster().await?.struck(fault).await?;
    ensure!(
        struck == THROTTLED,
        "expected {THROTTLED} calls to be throttled, {struck} were"
    );
    one_request_each(context, &namespace, BURST).await
}

async fn outage(context: &Context) -> Result<()> {
    const ALERTS: usize = 20;
    const OUTAGE: u64 = 20_000;
    let namespace = context.namespace().await?;
    let known = Alert::new("HighMemoryUsage", &namespace, "worker-0");
    context.gateway().alert(&known).await?.expect(201)?;
    context
        .fault(json!({"fault": "close-port", "forMilliseconds": OUTAGE}))
        .await?;

    let delayed = try_join_all((0..ALERTS).map(|number| {
        let alert = Alert::new("HighMemoryUsage", &namespace, &format!("worker-{number}"));
        async move { send_until_accepted(context, &alert).await }
    }));
    // Without readiness no sender would get the 503.
    let ready = async {
        context.gateway().health("/healthz").await?.expect(200)?;
        context.gateway().health("/readyz").await?.expect(200)
    };
    let (accepted, _) = try_join(delayed, ready).await?;
    let delayed = accepted.iter().filter(|(_, delayed)| *delayed > 0).count();
    ensure!(
        delayed == ALERTS,
        "expected each of {ALERTS} alerts to get 503 during the outage, {delayed} did"
    );
    one_request_each(context, &namespace, ALERTS).await?;
    let (repeat, _) = &accepted[0];
    repeat.ensure(repeat.status == 202, "expected the known alert to be a duplicate")?;
    Ok(())
}

async fn conflicts(context: &Context) -> Result<()> {
    const REPEATS: usize = 100;
    const CONFLICTS: u64 = 5;
    let namespace = context.namespace().await?;
    let alert = Alert::new("HighMemoryUsage", &namespace, "payment-api-789");
    let first = context.gateway().alert(&alert).await?.expect(201)?;
    let name = first.text_at("/remediationRequestName")?;
    let fault = context
        .fault(json!({
            "path": format!("/namespaces/{namespace}/remediationrequests/{name}/status"),
            "fault": "conflict",
            "times": CONFLICTS,
        }))
        .await?;
    let repeat = async || send_until_accepted(context, &alert).await;
    let responses = try_join_all((0..REPEATS).map(|_| repeat())).await?;
    let struck = context.cluster().await?.struck(fault).await?;
    ensure!(
        struck == CONFLICTS,
        "expected {CONFLICTS} conflicts, there were {struck}"
    );
    for (response, _) in &responses {
        response.has("/duplicate", true)?;
    }
    let request = context.cluster().await?.request(&namespace, &name).await?;
    let count = &request["status"]["deduplication"]["occurrenceCount"];
    ensure!(
        *count == json!(REPEATS + 1),
        "expected the count {}, found {count}",
        REPEATS + 1
    );
    Ok(())
}
