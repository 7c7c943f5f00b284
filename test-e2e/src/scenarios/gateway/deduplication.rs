//! One active request per incident, and an exact count of its occurrences.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;

use crate::gateway::Alert;
use crate::harness::context::Context;
use crate::harness::part::Part::{Gateway, Kubernetes};
use crate::harness::scenario::Requirement::{Control, Kubeconfig};
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "g01_five_identical_alerts_create_one_request_with_count_five",
        |c| Box::pin(five_identical(c)),
    )
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig]),
    Scenario::new(
        "g05_a_hundred_concurrent_distinct_alerts_create_a_hundred_requests",
        |c| Box::pin(hundred_distinct(c)),
    )
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig])
    .takes(2, 60),
    Scenario::new(
        "g06_a_thousand_concurrent_identical_alerts_are_one_request_with_count_a_thousand",
        |c| Box::pin(thousand_identical(c)),
    )
    .shares(&[Kubernetes])
    .alone(&[Gateway])
    .requires(&[Kubeconfig])
    .takes(15, 300),
    Scenario::new("g12_a_restarted_gateway_still_recognises_duplicates", |c| {
        Box::pin(restarted(c))
    })
    .shares(&[Kubernetes])
    .alone(&[Gateway])
    .requires(&[Kubeconfig, Control])
    .takes(5, 180),
    Scenario::new("g23_only_an_ended_request_is_followed_by_a_new_one", |c| {
        Box::pin(phases(c))
    })
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig])
    .takes(2, 60),
];

async fn five_identical(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let alert = Alert::new("HighMemoryUsage", &namespace, "payment-api-789");

    let first = context.gateway().alert(&alert).await?.expect(201)?;
    first.has("/duplicate", false)?.has("/metadata/count", 1)?;
    let name = first.text_at("/remediationRequestName")?;
    for count in 2..=5 {
        let repeat = context.gateway().alert(&alert).await?.expect(202)?;
        repeat
            .has("/duplicate", true)?
            .has("/remediationRequestName", name.as_str())?;
        repeat
            .has("/fingerprint", first.at("/fingerprint")?)?
            .has("/metadata/count", count)?;
    }
    let requests = context.cluster().await?.requests(&namespace).await?;
    ensure!(requests.len() == 1, "expected one request, found {requests:#?}");
    let count = &requests[0]["status"]["deduplication"]["occurrenceCount"];
    ensure!(
        *count == json!(5),
        "expected occurrenceCount 5 after the fifth response, found {count}"
    );

    let other = Alert::new("HighMemoryUsage", &namespace, "payment-api-790");
    let other = context.gateway().alert(&other).await?.expect(201)?;
    other.ensure(
        other.text_at("/remediationRequestName")? != name,
        "another pod is another incident",
    )?;
    let requests = context.cluster().await?.requests(&namespace).await?;
    ensure!(
        requests.len() == 2,
        "expected a second request, found {requests:#?}"
    );
    Ok(())
}

async fn hundred_distinct(context: &Context) -> Result<()> {
    const ALERTS: usize = 100;
    let namespace = context.namespace().await?;
    let responses = try_join_all((0..ALERTS).map(|number| {
        let alert = Alert::new("HighMemoryUsage", &namespace, &format!("worker-{number}"));
        async move { context.gateway().alert(&alert).await?.expect(201) }
    }))
    .await?;
    let named = responses
        .iter()
        .map(|response| response.text_at("/remediationRequestName"));
    let named: BTreeSet<_> = named.collect::<Result<_>>()?;
    ensure!(
        named.len() == ALERTS,
        "expected {ALERTS} different names in the responses, found {}",
        named.len()
    );

    let requests = context.cluster().await?.requests(&namespace).await?;
    let made: BTreeSet<_> = requests
        .iter()
        .filter_map(|request| request["metadata"]["name"].as_str())
        .map(str::to_owned)
        .collect();
    ensure!(
        made == named,
        "the requests in the cluster are {made:?}, those in the responses {named:?}"
    );
    let pods: BTreeSet<_> = requests
        .iter()
        .map(|request| request["spec"]["targetResource"]["name"].to_string())
        .collect();
    ensure!(
        pods.len() == ALERTS,
        "expected a request for each of {ALERTS} pods, found {}: {pods:?}",
        pods.len()
    );
    Ok(())
}

async fn thousand_identical(context: &Context) -> Result<()> {
    const ALERTS: usize = 1_000;
    /// Fewer than a tight limit of open files per process.
    const AT_ONCE: usize = 500;
    let namespace = context.namespace().await?;
    context.scale(Gateway, 3).await?;
    let alert = Alert::new("HighMemoryUsage", &namespace, "payment-api-789");
    let gateway = context.gateway();
    let responses: Vec<_> = stream::iter(0..ALERTS)
        .map(|_| gateway.alert(&alert))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let with = |status: u16| {
        responses
            .iter()
            .filter(|response| response.status == status)
            .count()
    };
    let other = responses
        .iter()
        .find(|response| ![201, 202].contains(&response.status));
    ensure!(
        other.is_none(),
        "expected 201 or 202, found {}",
        other.map(ToString::to_string).unwrap_or_default()
    );
    ensure!(
        with(201) == 1,
        "expected one of {ALERTS} to be the first, {} were",
        with(201)
    );

    let requests = context.cluster().await?.requests(&namespace).await?;
    ensure!(requests.len() == 1, "expected one request, found {requests:#?}");
    let count = &requests[0]["status"]["deduplication"]["occurrenceCount"];
    ensure!(
        *count == json!(ALERTS),
        "expected the count {ALERTS} after the last response, found {count}"
    );
    Ok(())
}

async fn restarted(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let alert = Alert::new("HighMemoryUsage", &namespace, "payment-api-789");
    let first = context.gateway().alert(&alert).await?.expect(201)?;

    context.control()?.restart(Gateway).await?;
    crate::harness::readiness::wait_for(&context.stack, [Gateway]).await?;

    let repeat = context.gateway().alert(&alert).await?.expect(202)?;
    repeat
        .has("/remediationRequestName", first.at("/remediationRequestName")?)?
        .has("/metadata/count", 2)?;
    let requests = context.cluster().await?.requests(&namespace).await?;
    ensure!(requests.len() == 1, "expected one request, found {requests:#?}");
    Ok(())
}

async fn phases(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let (gateway, cluster) = (context.gateway(), context.cluster().await?);
    let alert = Alert::new("HighMemoryUsage", &namespace, "payment-api-789");
    let first = gateway.alert(&alert).await?.expect(201)?;
    let mut current = first.text_at("/remediationRequestName")?;

    for active in ["Pending", "Processing", "APhaseOfALaterVersion"] {
        cluster.set_phase(&namespace, &current, active).await?;
        let repeat = gateway.alert(&alert).await?.expect(202)?;
        repeat.has("/remediationRequestName", current.as_str())?;
    }
    for (ended, phase) in ["Completed", "Failed", "TimedOut", "Skipped", "Cancelled"]
        .into_iter()
        .enumerate()
    {
        cluster.set_phase(&namespace, &current, phase).await?;
        // Immediately, before the Gateway's watch has seen it: an ended request is never counted.
        let again = gateway.alert(&alert).await?.expect(201)?;
        again.has("/duplicate", false)?.has("/metadata/count", 1)?;
        let new = again.text_at("/remediationRequestName")?;
        again.ensure(
            new != current,
            format!("expected a request other than the one that is {phase}"),
        )?;
        let requests = cluster.requests(&namespace).await?;
        ensure!(
            requests.len() == ended + 2,
            "expected {} requests after {phase}, found {requests:#?}",
            ended + 2
        );
        current = new;
    }
    let repeat = gateway.alert(&alert).await?.expect(202)?;
    repeat
        .has("/remediationRequestName", current.as_str())?
        .has("/metadata/count", 2)?;
    Ok(())
}
