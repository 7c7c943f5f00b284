//! A Kubernetes API that throttles, conflicts or is away.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::{try_join, try_join_all};
use serde_json::json;

use crate::gateway::Alert;
use crate::harness::context::Context;
use crate::harness::part::Part::{Gateway, Kubernetes};
use crate::harness::scenario::Requirement::{Faults, Kubeconfig};
use crate::harness::scenario::Scenario;
use crate::http::Answer;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] = &[
    // Alone with the Gateway: refused calls may open its circuit for all.
    Scenario::new("g02_of_a_burst_that_is_throttled_no_alert_is_lost", |c| {
        Box::pin(throttled(c))
    })
    .shares(&[Kubernetes])
    .alone(&[Gateway])
    .requires(&[Kubeconfig, Faults])
    .takes(10, 180),
    Scenario::new(
        "g26_alerts_while_the_kubernetes_api_is_away_are_put_off_and_then_taken_once",
        |c| Box::pin(away(c)),
    )
    .alone(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig, Faults])
    .takes(40, 240),
    Scenario::new("g27_conflicts_on_the_status_do_not_lose_a_count", |c| {
        Box::pin(conflicts(c))
    })
    .shares(&[Kubernetes])
    .alone(&[Gateway])
    .requires(&[Kubeconfig, Faults])
    .takes(5, 120),
];

/// From an outage's end to the last alert.
const TAKEN: Duration = Duration::from_secs(90);

/// Sends an alert until it is taken, as AlertManager does; says how often it was put off.
async fn send_until_taken(context: &Context, alert: &Alert) -> Result<(Answer, usize)> {
    let mut put_off = 0;
    let answer = until(TAKEN, "an alert to be taken", async || {
        let answer = context.gateway().alert(alert).await?;
        match answer.status {
            201 | 202 => Ok(Seen::Yes(answer)),
            503 => {
                answer.is_problem(503, &[])?;
                let seconds: Option<u64> = answer
                    .header("retry-after")
                    .and_then(|seconds| seconds.parse().ok());
                let Some(1..=60) = seconds else {
                    return Ok(Seen::Never(
                        answer.wrong("expected Retry-After in seconds").to_string(),
                    ));
                };
                put_off += 1;
                Ok(Seen::NotYet(answer.to_string()))
            }
            _ => Ok(Seen::Never(answer.to_string())),
        }
    })
    .await?;
    Ok((answer, put_off))
}

/// Each of the alerts stands in the namespace as one request.
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
        async move { send_until_taken(context, &alert).await }
    }))
    .await?;
    let struck = context.cluster().await?.struck(fault).await?;
    ensure!(
        struck == THROTTLED,
        "expected {THROTTLED} calls to be throttled, {struck} were"
    );
    one_request_each(context, &namespace, BURST).await
}

async fn away(context: &Context) -> Result<()> {
    const ALERTS: usize = 20;
    const AWAY: u64 = 20_000;
    let namespace = context.namespace().await?;
    let known = Alert::new("HighMemoryUsage", &namespace, "worker-0");
    context.gateway().alert(&known).await?.expect(201)?;
    context
        .fault(json!({"fault": "close-port", "forMilliseconds": AWAY}))
        .await?;

    let put_off = try_join_all((0..ALERTS).map(|number| {
        let alert = Alert::new("HighMemoryUsage", &namespace, &format!("worker-{number}"));
        async move { send_until_taken(context, &alert).await }
    }));
    // Out of the Service it could not even put senders off.
    let ready = async {
        context.gateway().health("/healthz").await?.expect(200)?;
        context.gateway().health("/readyz").await?.expect(200)
    };
    let (taken, _) = try_join(put_off, ready).await?;
    let put_off = taken.iter().filter(|(_, put_off)| *put_off > 0).count();
    ensure!(
        put_off == ALERTS,
        "expected each of {ALERTS} alerts to be put off while the API was away, {put_off} were"
    );
    one_request_each(context, &namespace, ALERTS).await?;
    let (repeat, _) = &taken[0];
    ensure!(
        repeat.status == 202,
        "{}",
        repeat.wrong("expected the known alert to be a duplicate")
    );
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
    let repeat = async || send_until_taken(context, &alert).await;
    let answers = try_join_all((0..REPEATS).map(|_| repeat())).await?;
    let struck = context.cluster().await?.struck(fault).await?;
    ensure!(
        struck == CONFLICTS,
        "expected {CONFLICTS} conflicts, there were {struck}"
    );
    for (answer, _) in &answers {
        answer.has("/duplicate", true)?;
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
