//! Audit events reach DataStorage exactly once, through outages and kills.

use std::collections::BTreeMap;

use crate::stack::{Stack, until};

#[tokio::test(flavor = "multi_thread")]
async fn kill_during_a_datastorage_outage_neither_loses_nor_doubles_events() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    stack.storage.set_unavailable(true);
    assert_eq!(
        gateway.storm("A", 50).await,
        BTreeMap::from([(201, 1), (202, 49)])
    );
    assert_eq!(
        gateway.get_health("/readyz").await,
        Some(200),
        "ready without DataStorage"
    );
    assert_eq!(gateway.metric("gateway_audit_spool_events").await, Some(51.0));
    gateway.kill();

    let gateway = stack.gateway("a", "").await;
    assert_eq!(gateway.storm("A", 10).await, BTreeMap::from([(202, 10)]));
    assert_eq!(stack.storage.events("gateway.signal.received").len(), 0);
    stack.storage.set_unavailable(false);
    until("all events", async || {
        gateway.metric("gateway_audit_spool_events").await == Some(0.0)
    })
    .await;
    // The storage fails on the same id with another body, and counts the same id once.
    assert_eq!(stack.storage.events("gateway.signal.received").len(), 1);
    assert_eq!(stack.storage.events("gateway.crd.created").len(), 1);
    let mut counts: Vec<i64> = stack
        .storage
        .events("gateway.signal.deduplicated")
        .iter()
        .map(|event| event["event_data"]["occurrence_count"].as_i64().unwrap())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, (2..=60).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn graceful_stop_finishes_requests_in_flight_and_empties_the_spool() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    let slow = serde_json::json!({ "method": "POST", "fault": "latency", "milliseconds": 1_000 });
    stack.fault(slow).await;
    let in_flight = gateway.alert("A");
    let end = async {
        until("the alert to be in flight", async || {
            gateway
                .metric(
                    "gateway_signals_received_total{source_type=\"prometheus-alert\",severity=\"critical\"}",
                )
                .await
                == Some(1.0)
        })
        .await;
        gateway.terminate();
        until("readiness to turn", async || {
            gateway.get_health("/readyz").await == Some(503)
        })
        .await;
    };
    let (answer, ()) = tokio::join!(in_flight, end);
    assert_eq!(answer.status, 201);
    gateway.ended().await;
    assert_eq!(stack.storage.events("gateway.crd.created").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_create_leaves_an_audit_event() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    let fault = serde_json::json!({ "method": "POST", "path": "remediationrequests$", "fault": "unavailable", "times": 3 });
    stack.fault(fault).await;
    assert_eq!(gateway.alert("A").await.status, 503);
    until("the event", async || {
        stack.storage.events("gateway.crd.creation_failed").len() == 1
    })
    .await;
    let failed = stack.storage.events("gateway.crd.creation_failed").remove(0);
    assert_eq!(failed["event_outcome"], "failure");
    assert_eq!(failed["error_code"], "server_error");
    let answer = gateway.alert("A").await;
    assert_eq!(
        failed["correlation_id"], answer.body["remediationRequestName"],
        "the same name when it is created"
    );
}
