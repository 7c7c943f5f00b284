//! Responses to senders.

use serde_json::{Value, json};

use crate::stack::{Gateway, Stack, alert, answer, webhook};

const ALERTS: &str = "/api/v1/signals/prometheus";
const EVENTS: &str = "/api/v1/signals/kubernetes-event";

async fn start() -> (Stack, Gateway) {
    let stack = Stack::start().await;
    let gateway = stack.gateway("a", "").await;
    (stack, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn several_alerts_get_one_result_each() {
    let (_stack, gateway) = start().await;
    gateway.alert("Known").await;
    let resolved = json!({ "status": "resolved", "labels": { "alertname": "Over" } });
    let alerts = [
        alert("Known"),
        alert("New"),
        alert("New"),
        json!({ "labels": {} }),
        resolved,
        json!(7),
    ];
    let answer = gateway.webhook(&webhook(&alerts)).await;
    assert_eq!(answer.status, 207);
    let results = answer.body["results"].as_array().unwrap();
    let mut statuses: Vec<&str> = results
        .iter()
        .map(|result| result["status"].as_str().unwrap())
        .collect();
    // Which of two equal alerts is the first is undefined.
    statuses[1..3].sort_unstable();
    assert_eq!(
        statuses,
        [
            "deduplicated",
            "created",
            "deduplicated",
            "rejected",
            "resolved",
            "rejected"
        ]
    );
    assert_eq!(
        answer.body["summary"],
        json!({ "total": 6, "created": 1, "deduplicated": 2, "resolved": 1, "rejected": 2, "failed": 0 })
    );
    assert!(
        results[3]["error"]
            .as_str()
            .unwrap()
            .contains("alerts[3].labels.alertname")
    );
    let all_wrong = gateway.webhook(&webhook(&[json!({}), json!({})])).await;
    assert_eq!(
        (
            all_wrong.status,
            all_wrong.body["errors"].as_array().unwrap().len()
        ),
        (400, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ignored_alerts_create_no_request() {
    let (stack, gateway) = start().await;
    let single = gateway.alert("Watchdog").await;
    assert_eq!(
        (single.status, &single.body["status"]),
        (202, &json!("ignored")),
        "{single:?}"
    );
    let answer = gateway
        .webhook(&webhook(&[alert("InfoInhibitor"), alert("Real")]))
        .await;
    assert_eq!(
        (answer.status, &answer.body["summary"]["ignored"]),
        (207, &json!(1))
    );
    assert_eq!(stack.requests("shop").await.len(), 1);
    assert_eq!(gateway.metric("gateway_signals_ignored_total").await, Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn single_responses_have_all_fields() {
    let (_stack, gateway) = start().await;
    let first = gateway.alert("Single").await;
    let second = gateway.alert("Single").await;
    assert_eq!((first.status, second.status), (201, 202));
    for (answer, status, duplicate, count) in
        [(&first, "created", false, 1), (&second, "deduplicated", true, 2)]
    {
        assert_eq!(answer.body["status"], status);
        assert_eq!(answer.body["duplicate"], duplicate);
        assert_eq!(answer.body["metadata"]["count"], count);
        assert_eq!(answer.body["remediationRequestNamespace"], "shop");
        let name = answer.body["remediationRequestName"].as_str().unwrap();
        assert_eq!(
            answer.body["metadata"]["remediationRequestRef"],
            format!("shop/{name}")
        );
        assert_eq!(
            answer.body["metadata"]["firstOccurrence"],
            first.body["metadata"]["firstOccurrence"]
        );
    }
    assert!(first.headers.contains_key("x-request-id"));
    assert_eq!(first.headers["content-security-policy"], "default-src 'none'");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_named() {
    let (stack, gateway) = start().await;
    let post = |path: &str, body: &str| {
        let request = stack
            .http
            .post(gateway.url(path))
            .header("content-type", "application/json");
        answer(request.body(body.to_owned()))
    };
    for (path, body, status, named) in [
        (ALERTS, "{", 400, "JSON"),
        (ALERTS, "[]", 400, "JSON"),
        (ALERTS, r#"{"alerts":[]}"#, 400, "alerts"),
        (
            ALERTS,
            r#"{"alerts":[{"labels":{"alertname":"A"}}]}"#,
            400,
            "startsAt",
        ),
        (EVENTS, r#"{"type":"Normal"}"#, 400, "involvedObject.kind"),
        (ALERTS, &" ".repeat((4 << 20) + 1), 413, "4194304"),
        ("/nowhere", "{}", 404, "/nowhere"),
    ] {
        let answer = post(path, body).await.unwrap();
        assert_eq!(answer.status, status, "{named}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert!(
            answer.body["detail"].as_str().unwrap().contains(named),
            "{named}: {}",
            answer.body
        );
    }
    let method = answer(stack.http.get(gateway.url(ALERTS))).await.unwrap();
    assert_eq!(
        (method.status, &method.headers["allow"]),
        (405, &"POST".parse().unwrap())
    );
    let text = stack
        .http
        .post(gateway.url(ALERTS))
        .header("content-type", "text/plain")
        .body("{}");
    assert_eq!(answer(text).await.unwrap().status, 415);
    let replayed = stack
        .http
        .post(gateway.url(ALERTS))
        .header("x-timestamp", "1000000000");
    let replayed = answer(replayed.json(&webhook(&[alert("Old")]))).await.unwrap();
    assert_eq!(
        (replayed.status, replayed.body["errors"][0]["field"].as_str()),
        (400, Some("X-Timestamp"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_create_requests() {
    let (stack, gateway) = start().await;
    let mut event = json!({
        "type": "Warning", "reason": "OOMKilled", "message": "killed",
        "involvedObject": { "kind": "Pod", "name": "payment-9", "namespace": "shop" },
        "lastTimestamp": jiff::Timestamp::now().to_string(),
    });
    let send = async |event: &Value| {
        answer(stack.http.post(gateway.url(EVENTS)).json(event))
            .await
            .unwrap()
    };
    let made = send(&event).await;
    assert_eq!(made.status, 201, "{made:?}");
    let name = made.body["remediationRequestName"].as_str().unwrap();
    let requests = stack.requests("shop").await;
    let request = requests
        .iter()
        .find(|request| request.metadata.name.as_deref() == Some(name))
        .unwrap();
    assert_eq!(request.spec.target_resource.name, "payment-9");
    assert_eq!(request.spec.severity.as_str(), "critical");
    assert_eq!(
        request.metadata.labels.as_ref().unwrap()["kubernaut.ai/signal-type"],
        "kubernetes-event"
    );
    event["lastTimestamp"] = json!("2020-01-01T00:00:00Z");
    assert_eq!(send(&event).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn signal_of_a_missing_namespace_goes_to_the_fallback() {
    let (stack, gateway) = start().await;
    let mut lost = alert("Lost");
    lost["labels"]["namespace"] = json!("not-there");
    let made = gateway.webhook(&webhook(&[lost])).await;
    assert_eq!(
        (made.status, made.body["remediationRequestNamespace"].as_str()),
        (201, Some("kubernaut-system"))
    );
    let request = stack.requests("kubernaut-system").await.remove(0);
    let labels = request.metadata.labels.unwrap();
    assert_eq!(labels["kubernaut.ai/origin-namespace"], "not-there");
    assert_eq!(labels["kubernaut.ai/cluster-scoped"], "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_document_is_served() {
    let (stack, gateway) = start().await;
    let document = answer(stack.http.get(gateway.url("/openapi.json")))
        .await
        .unwrap();
    assert_eq!(document.headers["content-type"], "application/json");
    assert!(document.body["paths"][ALERTS]["post"]["responses"]["207"].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_are_json_without_payloads() {
    let (_stack, gateway) = start().await;
    for number in 0..12 {
        gateway.alert(&format!("Alert{number}")).await;
    }
    let log = gateway.log();
    assert!(!log.contains("payment-1"), "a value of a payload is in the log");
    // The first line is the command, written by the runner.
    let lines: Vec<Value> = log
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.iter().filter(|line| line["target"] == "access").count() >= 12);
}
