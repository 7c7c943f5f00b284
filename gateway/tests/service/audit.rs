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

#[tokio::test(flavor = "multi_thread")]
async fn rejected_events_are_kept_reported_and_sent_again_by_the_command() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    stack.storage.set_rejecting(true);
    assert_eq!(gateway.alert("A").await.status, 201);
    assert_eq!(gateway.alert("A").await.status, 202);
    until("the events to be rejected", async || {
        gateway.metric("gateway_audit_rejected_events").await == Some(3.0)
    })
    .await;
    until("readiness to report them", async || {
        let (status, detail) = gateway.dependency("spool").await;
        status == "down" && detail.contains("DataStorage rejected 3 events; see `gateway events list`")
    })
    .await;
    gateway.kill();

    let gateway = stack.gateway("a", "").await;
    let list = gateway.events(&["list"]).unwrap();
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split('\t').collect()).collect();
    let types: Vec<&str> = lines.iter().map(|fields| fields[1]).collect();
    assert_eq!(
        types,
        [
            "gateway.signal.received",
            "gateway.crd.created",
            "gateway.signal.deduplicated"
        ]
    );
    assert!(lines[0][4].starts_with("400"), "{list}");
    stack.storage.set_rejecting(false);
    assert_eq!(
        gateway.events(&["retry", "--all"]).unwrap(),
        "3 events sent again\n"
    );
    until("the events", async || {
        types.iter().all(|name| stack.storage.events(name).len() == 1)
    })
    .await;
    until("readiness without a complaint", async || {
        gateway.dependency("spool").await == ("ok".to_owned(), String::new())
    })
    .await;
    assert_eq!(gateway.events(&["list"]).unwrap(), "");
    assert_eq!(gateway.events(&["drop", lines[0][0]]), None, "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_without_datastorage_says_what_stays_in_the_spool() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    stack.storage.set_unavailable(true);
    assert_eq!(gateway.storm("A", 5).await, BTreeMap::from([(201, 1), (202, 4)]));
    gateway.terminate();
    let log = gateway.ended().await;
    let line = log
        .lines()
        .find(|line| line.contains("did not acknowledge"))
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["events"], 6);
    assert!(line["directory"].as_str().unwrap().ends_with("/spool"));
    assert!(
        log.contains("is delivered when a Gateway starts with this folder"),
        "{log}"
    );

    stack.storage.set_unavailable(false);
    let _gateway = stack.gateway("a", "").await;
    until("the events", async || {
        stack.storage.events("gateway.signal.deduplicated").len() == 4
    })
    .await;
}

/// The number of stored events of each type.
fn stored(stack: &Stack) -> [usize; 4] {
    [
        "signal.received",
        "crd.created",
        "signal.deduplicated",
        "crd.creation_failed",
    ]
    .map(|name| stack.storage.events(&format!("gateway.{name}")).len())
}

#[tokio::test(flavor = "multi_thread")]
async fn create_whose_response_is_lost_leaves_the_events_of_a_creation() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    let path = "remediationrequests$";
    stack
        .fault(serde_json::json!({ "method": "POST", "path": path, "fault": "reset-after", "times": 1 }))
        .await;
    stack
        .fault(serde_json::json!({ "method": "POST", "path": path, "fault": "unavailable", "skip": 1, "times": 2 }))
        .await;
    assert_eq!(gateway.alert("A").await.status, 503);
    assert_eq!(stack.requests("shop").await.len(), 1, "{}", stack.struck().await);
    until("the events of the creation", async || {
        stored(&stack) == [1, 1, 0, 0]
    })
    .await;
    assert_eq!(gateway.alert("A").await.status, 202);
    until("the retry", async || stored(&stack) == [1, 1, 1, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_replica_writes_the_same_events_of_a_creation() {
    let stack = Stack::start().await;
    stack.storage.set_unavailable(true);
    let creator = stack.gateway("a", "").await;
    assert_eq!(creator.alert("A").await.status, 201);
    creator.kill();
    stack.storage.set_unavailable(false);
    let other = stack.gateway("b", "").await;
    assert_eq!(other.alert("A").await.status, 202);
    until("the events", async || stored(&stack) == [1, 1, 1, 0]).await;
    // The storage fails on the same id with another body.
    let creator = stack.gateway("a", "").await;
    until("its spool to be delivered", async || {
        creator.metric("gateway_audit_spool_events").await == Some(0.0)
    })
    .await;
    assert_eq!(
        creator.metric("gateway_audit_events_stored_total").await,
        Some(2.0)
    );
    assert_eq!(stored(&stack), [1, 1, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unresolved_create_is_recorded_as_failed_at_the_stop() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    stack
        .fault(serde_json::json!({ "path": "remediationrequests", "fault": "unavailable" }))
        .await;
    assert_eq!(gateway.alert("A").await.status, 503);
    gateway.terminate();
    gateway.ended().await;
    assert_eq!(stored(&stack), [0, 0, 0, 1]);
}
