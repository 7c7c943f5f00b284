//! A Kubernetes API that is slow, unavailable, throttling, or loses responses.

use std::collections::BTreeMap;

use kube::api::{Api, ObjectMeta, PostParams};
use serde_json::json;
use tokio::task::block_in_place;
use wire::remediation_request::RemediationRequest;

use crate::stack::{Stack, alert, until, webhook};

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_and_lost_responses_change_no_count() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    let path = "remediationrequests$";
    stack
        .fault(json!({ "method": "POST", "path": path, "fault": "reset-after", "times": 1 }))
        .await;
    assert_eq!(
        gateway.alert("A").await.status,
        201,
        "the response to the create was lost, and it is ours"
    );
    for fault in ["conflict", "reset-after", "internal-error", "reset"] {
        stack
            .fault(json!({ "path": "/status$", "fault": fault, "times": 2, "skip": 1 }))
            .await;
        assert_eq!(
            gateway.storm("A", 20).await,
            BTreeMap::from([(202, 20)]),
            "{fault}"
        );
    }
    let requests = stack.requests("shop").await;
    assert_eq!(
        (requests.len(), requests[0].occurrence_count()),
        (1, 81),
        "{}",
        stack.struck().await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_creates_are_retried_and_then_get_503() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    let throttled = |times: u32, seconds: u32| {
        json!({
            "method": "POST", "path": "remediationrequests$", "fault": "too-many-requests",
            "retryAfterSeconds": seconds, "times": times,
        })
    };
    stack.fault(throttled(2, 1)).await;
    assert_eq!(gateway.alert("A").await.status, 201);
    stack.fault(throttled(1, 17)).await;
    let answer = gateway.alert("B").await;
    assert_eq!(
        (answer.status, &answer.headers["retry-after"]),
        (503, &"17".parse().unwrap())
    );
    assert_eq!(
        answer.body["type"],
        "https://kubernaut.ai/problems/service-unavailable"
    );
    assert_eq!(gateway.alert("B").await.status, 201);
    let errors = gateway
        .metric(r#"gateway_crd_creation_errors_total{error_type="throttled"}"#)
        .await;
    assert_eq!(errors, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn api_outage_returns_503_and_the_gateway_stays_ready() {
    let stack = Stack::start_with_journal().await;
    let gateway = stack.gateway("a", "[breaker]\nopen_ms = 1000\n").await;
    gateway.alert("Known").await;
    block_in_place(|| stack.kubernetes.stop()).unwrap();
    for name in ["Known", "New"] {
        let answer = gateway.alert(name).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.headers.contains_key("retry-after"));
        assert!(
            !answer.body.to_string().contains("127.0.0.1"),
            "the response contains an address: {}",
            answer.body
        );
    }
    gateway.storm("New", 30).await;
    until("the circuit to open", async || {
        gateway.alert(&format!("Other{}", fastrand::u32(..))).await;
        gateway
            .metric(r#"gateway_circuit_breaker_state{name="kubernetes"}"#)
            .await
            == Some(2.0)
    })
    .await;
    assert_eq!(gateway.get_health("/readyz").await, Some(200));
    assert_eq!(gateway.get_health("/healthz").await, Some(200));
    block_in_place(|| stack.kubernetes.restart()).unwrap();
    for (name, status) in [("Known", 202), ("New", 201)] {
        until("the API to be available again", async || {
            let answer = gateway.alert(name).await;
            assert!([503, status].contains(&answer.status), "{answer:?}");
            answer.status == status
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_long_is_answered_504_and_too_much_503() {
    let stack = Stack::start().await;
    let gateway = stack
        .gateway("a", "[http]\nrequest_timeout_ms = 500\nmax_in_flight = 3\n")
        .await;
    let slow = json!({ "method": "POST", "path": "remediationrequests$", "fault": "latency", "milliseconds": 2_000 });
    stack.fault(slow).await;
    let answers = gateway.storm("Slow", 10).await;
    assert_eq!(answers, BTreeMap::from([(503, 7), (504, 3)]));
    // Started work completes, with its audit event.
    until("the request", async || stack.requests("shop").await.len() == 1).await;
    until("its audit event", async || {
        stack.storage.events("gateway.crd.created").len() == 1
    })
    .await;
    until("a free slot", async || gateway.alert("Slow").await.status == 202).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_watch_does_not_matter() {
    let stack = Stack::start().await;
    let first = stack.gateway("a", "").await;
    let second = stack.gateway("b", "").await;
    stack
        .fault(json!({ "method": "WATCH", "fault": "stall-watch" }))
        .await;
    assert_eq!(first.alert("A").await.status, 201);
    assert_eq!(second.alert("A").await.status, 202);
    let request = stack.requests("shop").await.remove(0);
    stack.set_phase(&request, "Failed").await;
    assert_eq!(first.alert("A").await.status, 201);
    assert_eq!(second.alert("A").await.status, 202);
    assert_eq!(stack.requests("shop").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_webhook_of_one_namespace_hinders_no_other() {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "[retry]\nfirst_delay_ms = 1\n").await;
    let path = "/namespaces/kubernaut-system/remediationrequests$";
    stack
        .fault(json!({ "method": "POST", "path": path, "fault": "internal-error" }))
        .await;
    for number in 0..20 {
        let mut bad = alert(&format!("Bad{number}"));
        bad["labels"]["namespace"] = json!("kubernaut-system");
        assert_eq!(gateway.webhook(&webhook(&[bad])).await.status, 503);
        assert_eq!(gateway.alert(&format!("Good{number}")).await.status, 201);
    }
    assert_eq!(
        gateway
            .metric(r#"gateway_circuit_breaker_state{name="kubernetes"}"#)
            .await,
        Some(0.0)
    );
    assert_eq!(
        gateway.metric("gateway_circuit_breaker_open_namespaces").await,
        Some(1.0)
    );
    until("readiness to name the namespace", async || {
        let (status, detail) = gateway.dependency("kubernetes").await;
        status == "down" && detail.contains("POST fails in the namespace kubernaut-system")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_unreadable_requests_do_not_hinder_the_start() {
    let stack = Stack::start().await;
    let api: Api<RemediationRequest> = Api::namespaced(stack.client.clone(), "shop");
    let gateway = stack.gateway("a", "").await;
    assert_eq!(gateway.alert("A").await.status, 201);
    let mut request = stack.requests("shop").await.remove(0);
    gateway.kill();
    // Another version of the CRD allows a time that the Gateway cannot read.
    let format = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/receivedTime/format";
    stack
        .patch_crd(&json!([{ "op": "remove", "path": format }]))
        .await;
    request.metadata = ObjectMeta {
        name: Some("by-hand".to_owned()),
        ..ObjectMeta::default()
    };
    let mut by_hand = serde_json::to_value(&request).unwrap();
    by_hand["spec"]["receivedTime"] = json!("yesterday");
    until("the new schema", async || {
        stack.create_raw("shop", &by_hand).await.is_success()
    })
    .await;
    let payload = "x".repeat(400_000);
    for number in 0..60 {
        request.metadata.name = Some(format!("large-{number}"));
        request.spec.original_payload = Some(payload.clone());
        request.spec.signal_fingerprint = format!("{number:064x}");
        api.create(&PostParams::default(), &request).await.unwrap();
    }
    let gateway = stack.gateway("b", "").await;
    assert_eq!(gateway.alert("A").await.status, 202);
    let peak = gateway.peak_memory();
    assert!(peak < 48 << 20, "{} MiB for 24 MB of requests", peak >> 20);
    let log = gateway.log();
    let skipped = log
        .lines()
        .find(|line| line.contains("shop/by-hand"))
        .unwrap_or_default();
    assert!(
        skipped.contains("spec.receivedTime is missing or invalid"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_responses_between_replicas_change_no_count() {
    let stack = Stack::start().await;
    let settings = "[retry]\nfirst_delay_ms = 1\n[breaker]\ncalls = 1000\n";
    let replicas = [
        stack.gateway("a", settings).await,
        stack.gateway("b", settings).await,
    ];
    assert_eq!(replicas[0].alert("A").await.status, 201);
    let mut accepted = 1;
    for (round, lost) in [1, 2, 3, 4, 20].into_iter().enumerate() {
        for skip in [0, 5, 9] {
            let fault = json!({ "method": "PATCH", "path": "/status$", "fault": "reset-after", "times": lost, "skip": skip });
            stack.fault(fault).await;
        }
        let (one, two) = tokio::join!(replicas[0].storm("A", 40), replicas[1].storm("A", 40));
        for answers in [one, two] {
            assert!(
                answers.keys().all(|status| [202, 503].contains(status)),
                "{answers:?}"
            );
            accepted += answers.get(&202).copied().unwrap_or_default();
        }
        until(&format!("the exact count of round {round}"), async || {
            stack.requests("shop").await[0].occurrence_count() == accepted as i64
        })
        .await;
    }
    let requests = stack.requests("shop").await;
    let known = requests[0]
        .status
        .as_ref()
        .unwrap()
        .deduplication
        .as_ref()
        .unwrap();
    let parts: i64 = known.writers.values().map(|writer| writer.count).sum();
    assert_eq!((known.writers.len(), parts + 1), (2, known.occurrence_count));
}
