//! Signals that create no request, although they are valid.

use serde_json::json;

use crate::stack::{Stack, alert, until, webhook};

#[tokio::test(flavor = "multi_thread")]
async fn request_without_a_needed_action_is_not_created_again_in_its_cool_down() {
    let stack = Stack::start().await;
    let settings = "[deduplication]\ncool_down_ms = { NoActionRequired = 3600000, Remediated = 0 }\n";
    let gateway = stack.gateway("a", settings).await;
    assert_eq!(gateway.alert("A").await.status, 201);
    let request = stack.requests("shop").await.remove(0);
    let ended = |outcome: &str, completed: jiff::Timestamp| json!({ "overallPhase": "Completed", "outcome": outcome, "completedAt": completed.to_string() });
    let now = jiff::Timestamp::now();
    stack.set_status(&request, &ended("NoActionRequired", now)).await;
    for _ in 0..3 {
        let repeat = gateway.alert("A").await;
        assert_eq!(
            (repeat.status, &repeat.body["status"]),
            (202, &json!("suppressed")),
            "{repeat:?}"
        );
        let name = request.metadata.name.as_deref().unwrap();
        assert_eq!(repeat.body["remediationRequestName"], name);
    }
    let requests = stack.requests("shop").await;
    assert_eq!((requests.len(), requests[0].occurrence_count()), (1, 1));
    until("the audit events", async || {
        stack.storage.events("gateway.signal.suppressed").len() == 3
    })
    .await;

    let before = now - std::time::Duration::from_secs(3601);
    stack
        .set_status(&request, &ended("NoActionRequired", before))
        .await;
    until("the next request", async || {
        gateway.alert("A").await.status == 201
    })
    .await;
    let requests = stack.requests("shop").await;
    assert_eq!(requests.len(), 2);
    let next = requests
        .iter()
        .find(|known| known.metadata.uid != request.metadata.uid);
    stack.set_status(next.unwrap(), &ended("Remediated", now)).await;
    assert_eq!(gateway.alert("A").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn resolved_alert_is_noted_on_its_request_and_in_the_trail() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    let mut resolved = alert("A");
    resolved["status"] = json!("resolved");
    let resolved = webhook(&[resolved]);
    let events = || stack.storage.events("gateway.signal.resolved");
    // Without a request there is nothing to note.
    assert_eq!(gateway.webhook(&resolved).await.status, 202);
    let created = gateway.alert("A").await;
    assert_eq!(created.status, 201);
    stack
        .fault(json!({ "method": "PATCH", "fault": "too-many-requests", "retryAfterSeconds": 9, "times": 1 }))
        .await;
    assert_eq!(gateway.webhook(&resolved).await.status, 503, "not noted yet");
    let answer = gateway.webhook(&resolved).await;
    assert_eq!((answer.status, &answer.body["status"]), (202, &json!("resolved")));
    let request = stack.requests("shop").await.remove(0);
    assert!(request.status.as_ref().unwrap().resolved_at.is_some());
    assert_eq!(request.occurrence_count(), 1);
    until("the audit event", async || events().len() == 1).await;
    assert_eq!(
        events()[0]["correlation_id"],
        created.body["remediationRequestName"]
    );
    // It fires again, and is counted.
    assert_eq!(gateway.alert("A").await.status, 202);
    let request = stack.requests("shop").await.remove(0);
    assert_eq!(request.occurrence_count(), 2);
    assert!(request.status.unwrap().resolved_at.is_some());
}
