//! Deliveries that are sent again because they got no success.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams};
use serde_json::json;

use crate::stack::{Stack, alert, until, webhook};

#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_a_group_are_counted_once_while_one_of_them_fails() {
    let stack = Stack::start().await;
    let gateway = stack
        .gateway("a", "[breaker]\ncalls = 1000\n[retry]\nmax_attempts = 1\n")
        .await;
    let path = "kubernaut-system/remediationrequests$";
    stack
        .fault(json!({ "method": "POST", "path": path, "fault": "internal-error", "times": 6 }))
        .await;
    let mut failing = alert("Failing");
    failing["labels"]["namespace"] = json!("kubernaut-system");
    let invalid = json!({ "labels": {} });
    let group = webhook(&[alert("Fine"), failing, invalid, alert("Fine")]);
    for delivery in 1..=6 {
        let answer = gateway.webhook(&group).await;
        assert_eq!(answer.status, 503, "{delivery}: {answer:?}");
    }
    let answer = gateway.webhook(&group).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    assert_eq!(
        answer.body["summary"],
        json!({ "total": 4, "created": 2, "deduplicated": 1, "resolved": 0, "rejected": 1, "failed": 0 })
    );
    let count = async || stack.requests("shop").await[0].occurrence_count();
    assert_eq!(count().await, 2);
    let counted = gateway.metric("gateway_signals_deduplicated_total").await;
    assert_eq!(counted, Some(1.0));
    // After a success, the same alerts are a further occurrence.
    assert_eq!(gateway.webhook(&group).await.status, 207);
    assert_eq!(count().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_is_counted_once_however_often_its_delivery_times_out() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "[http]\nrequest_timeout_ms = 500\n").await;
    stack
        .fault(json!({ "method": "POST", "path": "remediationrequests$", "fault": "latency", "milliseconds": 2_000 }))
        .await;
    let body = webhook(&[alert("Slow")]);
    let mut timeouts = 0;
    until("the delivery to succeed", async || {
        let answer = gateway.webhook(&body).await;
        timeouts += u32::from(answer.status == 504);
        assert!([201, 504].contains(&answer.status), "{answer:?}");
        answer.status == 201
    })
    .await;
    assert!(timeouts > 0);
    assert_eq!(stack.requests("shop").await[0].occurrence_count(), 1);
    until("its audit event", async || {
        stack.storage.events("gateway.crd.created").len() == 1
    })
    .await;
    assert!(stack.storage.events("gateway.signal.deduplicated").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn permanently_rejected_signal_gets_207() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    let namespaces: Api<Namespace> = Api::all(stack.client.clone());
    let parameters = DeleteParams::default();
    namespaces.delete("kubernaut-system", &parameters).await.unwrap();
    until("the namespace to be deleted", async || {
        namespaces.get_opt("kubernaut-system").await.unwrap().is_none()
    })
    .await;
    let mut homeless = alert("Homeless");
    homeless["labels"]["namespace"] = json!("not-there");
    let answer = gateway.webhook(&webhook(&[homeless])).await;
    assert_eq!(
        (answer.status, &answer.body["results"][0]["status"]),
        (207, &json!("failed")),
        "{answer:?}"
    );
}
