//! Webhooks with several alerts, and the freshness of signals.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::gateway::{Alert, EVENTS, event, webhook};
use crate::harness::context::Context;
use crate::harness::part::Part::{Gateway, Kubernetes};
use crate::harness::scenario::Requirement::Kubeconfig;
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("g04_alerts_of_two_namespaces_do_not_mix", |c| {
        Box::pin(two_namespaces(c))
    })
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig]),
    Scenario::new(
        "g18_a_replayed_signal_is_rejected_and_a_long_firing_alert_is_not",
        |c| Box::pin(replay(c)),
    )
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig]),
    Scenario::new("g24_each_alert_of_a_mixed_webhook_has_its_own_result", |c| {
        Box::pin(mixed(c))
    })
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig]),
];

async fn two_namespaces(context: &Context) -> Result<()> {
    const ALERTS: usize = 10;
    let namespaces = [
        context.namespace_named("red").await?,
        context.namespace_named("blue").await?,
    ];
    // One webhook with the alerts of both, and the same pods in both.
    let alerts: Vec<_> = (0..2 * ALERTS)
        .map(|number| {
            Alert::new(
                "HighMemoryUsage",
                &namespaces[number % 2],
                &format!("worker-{}", number / 2),
            )
        })
        .collect();
    let response = context
        .gateway()
        .webhook(&webhook(&alerts))?
        .send()
        .await?
        .expect(207)?;
    response
        .has("/summary/total", 2 * ALERTS)?
        .has("/summary/created", 2 * ALERTS)?;
    for namespace in &namespaces {
        let requests = context.cluster().await?.requests(namespace).await?;
        ensure!(
            requests.len() == ALERTS,
            "expected {ALERTS} requests in {namespace}, found {requests:#?}"
        );
        for request in &requests {
            let target = &request["spec"]["targetResource"]["namespace"];
            ensure!(
                *target == json!(namespace),
                "a request of {target} is in {namespace}"
            );
        }
    }
    Ok(())
}

async fn replay(context: &Context) -> Result<()> {
    const MINUTE: i64 = 60;
    let namespace = context.namespace().await?;
    let gateway = context.gateway();
    let at = |seconds: i64| Timestamp::now() + SignedDuration::from_secs(seconds);
    let alert = |pod: &str| Alert::new("HighMemoryUsage", &namespace, pod);

    let stamped = async |pod: &str, header: String| {
        let request = gateway.webhook(&webhook(&[alert(pod)]))?;
        request.header("x-timestamp", header).send().await
    };
    for wrong in [
        at(-6 * MINUTE).as_second().to_string(),
        at(3 * MINUTE).as_second().to_string(),
        "noon".to_owned(),
    ] {
        stamped("stale", wrong.clone())
            .await?
            .is_problem(400, &["X-Timestamp"])
            .with_context(|| wrong)?;
    }
    stamped("recent", at(-4 * MINUTE).as_second().to_string())
        .await?
        .expect(201)?;
    stamped("ahead", at(MINUTE).as_second().to_string())
        .await?
        .expect(201)?;

    let started = async |pod: &str, time: Timestamp| {
        gateway
            .alert(&alert(pod).field("startsAt", time.to_string()))
            .await
    };
    started("days-old", at(-3 * 24 * 60 * MINUTE))
        .await?
        .expect(201)?;
    started("soon", at(MINUTE)).await?.expect(201)?;
    started("future", at(3 * MINUTE))
        .await?
        .is_problem(400, &["startsAt"])?;
    // In a group it is rejected by itself.
    let group = [
        alert("days-old").field("startsAt", at(-3 * 24 * 60 * MINUTE).to_string()),
        alert("future").field("startsAt", at(3 * MINUTE).to_string()),
    ];
    gateway
        .webhook(&webhook(&group))?
        .send()
        .await?
        .expect(207)?
        .has("/results/0/status", "deduplicated")?
        .has("/results/1/status", "rejected")?;

    let seen = async |pod: &str, field: &str, time: Timestamp| {
        let mut event = event("BackOff", "Pod", pod, &namespace);
        event["firstTimestamp"] = Value::Null;
        event["lastTimestamp"] = Value::Null;
        event[field] = json!(time.to_string());
        context.http.post(gateway.url(EVENTS)?, &event).send().await
    };
    seen("old-event", "lastTimestamp", at(-6 * MINUTE))
        .await?
        .is_problem(400, &["lastTimestamp"])?;
    seen("future-event", "lastTimestamp", at(3 * MINUTE))
        .await?
        .is_problem(400, &["lastTimestamp"])?;
    seen("recent-event", "lastTimestamp", at(-4 * MINUTE))
        .await?
        .expect(201)?;
    seen("first-event", "firstTimestamp", at(-4 * MINUTE))
        .await?
        .expect(201)?;

    let requests = context.cluster().await?.requests(&namespace).await?;
    let mut made: Vec<_> = requests
        .iter()
        .filter_map(|request| request["spec"]["targetResource"]["name"].as_str())
        .collect();
    made.sort_unstable();
    let expected = [
        "ahead",
        "days-old",
        "first-event",
        "recent",
        "recent-event",
        "soon",
    ];
    ensure!(
        made == expected,
        "expected requests of {expected:?} only, found {made:?}"
    );
    Ok(())
}

async fn mixed(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let alert = |pod: &str| Alert::new("HighMemoryUsage", &namespace, pod);
    let known = context.gateway().alert(&alert("known")).await?.expect(201)?;
    let alerts = [
        alert("new"),
        alert("known"),
        alert("nameless").without_label("alertname"),
        alert("over").field("status", "resolved"),
        alert("other"),
    ];
    let response = context
        .gateway()
        .webhook(&webhook(&alerts))?
        .send()
        .await?
        .expect(207)?;
    for (pointer, expected) in [
        ("total", 5),
        ("created", 2),
        ("deduplicated", 1),
        ("resolved", 1),
        ("rejected", 1),
        ("failed", 0),
    ] {
        response.has(&format!("/summary/{pointer}"), expected)?;
    }
    for (index, status) in ["created", "deduplicated", "rejected", "resolved", "created"]
        .into_iter()
        .enumerate()
    {
        response.has(&format!("/results/{index}/status"), status)?;
    }
    response.has("/results/1/fingerprint", known.at("/fingerprint")?)?;
    let error = response.text_at("/results/2/error")?;
    response.ensure(
        error.contains("alertname"),
        "expected the missing alertname to be named",
    )?;

    let requests = context.cluster().await?.requests(&namespace).await?;
    let counts: BTreeMap<_, _> = requests
        .iter()
        .map(|request| {
            let count = request["status"]["deduplication"]["occurrenceCount"]
                .as_i64()
                .unwrap_or(1);
            (
                request["spec"]["targetResource"]["name"]
                    .as_str()
                    .unwrap_or_default(),
                count,
            )
        })
        .collect();
    let expected = BTreeMap::from([("known", 2), ("new", 1), ("other", 1)]);
    ensure!(
        counts == expected,
        "expected the requests {expected:?}, found {counts:?}"
    );

    // A webhook with invalid alerts only is invalid.
    let wrong = [
        alert("a").without_label("alertname"),
        alert("b").without_label("alertname"),
    ];
    let response = context.gateway().webhook(&webhook(&wrong))?.send().await?;
    response.is_problem(400, &["alerts[0]", "alerts[1]", "alertname"])?;
    Ok(())
}
