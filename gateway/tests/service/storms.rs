//! One request per incident, whatever arrives concurrently.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::json;

use crate::stack::{Stack, alert, counted, until, webhook};

/// These tests are about numbers, not speed: a slow machine must not make them fail.
const PATIENT: &str = "[http]\nrequest_timeout_ms = 120000\n[retry]\ntimeout_ms = 60000\n";

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_concurrent_alerts_are_one_request_counted_two_hundred() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", PATIENT).await;
    assert_eq!(
        gateway.storm("Storm", 200).await,
        BTreeMap::from([(201, 1), (202, 199)])
    );
    let requests = stack.requests("shop").await;
    assert_eq!((requests.len(), requests[0].occurrence_count()), (1, 200));
    until("all audit events", async || {
        stack.storage.events("gateway.signal.deduplicated").len() == 199
            && stack.storage.events("gateway.crd.created").len() == 1
    })
    .await;
    let name = requests[0].metadata.name.clone().unwrap();
    let received = stack.storage.events("gateway.signal.received").remove(0);
    let created = stack.storage.events("gateway.crd.created").remove(0);
    assert_eq!(received["correlation_id"], json!(name));
    assert_eq!(created["parent_event_id"], received["event_id"]);
    assert_eq!(
        gateway.metric("gateway_signals_deduplicated_total").await,
        Some(199.0)
    );
    let label = r#"gateway_signals_received_total{source_type="prometheus-alert",severity="critical"}"#;
    assert_eq!(gateway.metric(label).await, Some(200.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_create_one_request_in_a_storm() {
    let stack = Stack::start().await;
    let replicas = [
        stack.gateway("a", PATIENT).await,
        stack.gateway("b", PATIENT).await,
        stack.gateway("c", PATIENT).await,
    ];
    let body = webhook(&[alert("Storm")]);
    let sent = (0..600).map(|number| replicas[number % 3].webhook(&body));
    assert_eq!(
        counted(join_all(sent).await),
        BTreeMap::from([(201, 1), (202, 599)])
    );
    let requests = stack.requests("shop").await;
    assert_eq!((requests.len(), requests[0].occurrence_count()), (1, 600));

    // One replica sees the terminal phase; the others must notice by their next write, whatever their watch has seen.
    stack.set_phase(&requests[0], "Completed").await;
    let sent = (0..90).map(|number| replicas[number % 3].webhook(&body));
    assert_eq!(
        counted(join_all(sent).await),
        BTreeMap::from([(201, 1), (202, 89)])
    );
    let counts: Vec<i64> = stack
        .requests("shop")
        .await
        .iter()
        .map(|request| request.occurrence_count())
        .collect();
    assert_eq!(counts.iter().sum::<i64>(), 690);
    assert_eq!(counts.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_distinct_alerts_are_a_hundred_requests_and_survive_a_restart() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", PATIENT).await;
    let bodies: Vec<_> = (0..100)
        .map(|number| webhook(&[alert(&format!("Alert{number}"))]))
        .collect();
    let sent = bodies.iter().map(|body| gateway.webhook(body));
    assert_eq!(counted(join_all(sent).await), BTreeMap::from([(201, 100)]));
    gateway.kill();
    let gateway = stack.gateway("a", PATIENT).await;
    let sent = bodies.iter().map(|body| gateway.webhook(body));
    assert_eq!(counted(join_all(sent).await), BTreeMap::from([(202, 100)]));
    let requests = stack.requests("shop").await;
    assert_eq!(requests.len(), 100);
    assert!(requests.iter().all(|request| request.occurrence_count() == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_services_status_is_preserved_and_phases_decide() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", PATIENT).await;
    gateway.alert("A").await;
    let first = stack.requests("shop").await.remove(0);
    stack.set_phase(&first, "Processing").await;
    assert_eq!(gateway.alert("A").await.status, 202);
    let request = stack.requests("shop").await.remove(0);
    assert_eq!(request.occurrence_count(), 2);
    assert_eq!(
        request.status.unwrap().overall_phase.as_deref(),
        Some("Processing")
    );
    for (number, phase) in wire::remediation_request::TERMINAL_PHASES.into_iter().enumerate() {
        let active = stack
            .requests("shop")
            .await
            .into_iter()
            .find(|request| request.is_active())
            .unwrap();
        stack.set_phase(&active, phase).await;
        assert_eq!(gateway.alert("A").await.status, 201, "{phase}");
        assert_eq!(stack.requests("shop").await.len(), number + 2, "{phase}");
    }
}
