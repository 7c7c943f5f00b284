//! Signals that are rejected, and the responses.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::gateway::{ALERTS, Alert, EVENTS, event, webhook};
use crate::harness::context::Context;
use crate::harness::part::Part::{Gateway, Kubernetes};
use crate::harness::scenario::Requirement::Kubeconfig;
use crate::harness::scenario::Scenario;
use crate::http::{Request, Response};
use reqwest::Method;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("g09_a_malformed_signal_is_rejected_and_the_field_is_named", |c| {
        Box::pin(malformed(c))
    })
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig]),
    Scenario::new(
        "g16_wrong_path_method_size_and_type_have_their_own_responses",
        |c| Box::pin(wrong_requests(c)),
    )
    .shares(&[Gateway]),
];

async fn malformed(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let alert = || Alert::new("HighMemoryUsage", &namespace, "payment-api-789");
    let hook = |alert: Alert| webhook(&[alert]);
    let with = |mut body: Value, field: &str, value: Value| {
        body[field] = value;
        body
    };
    let warning = || event("OOMKilled", "Pod", "payment-api-789", &namespace);
    let object = |field: &str, value: Value| {
        let mut body = warning();
        body["involvedObject"][field] = value;
        body
    };
    // The error, its endpoint, and the text that the response must contain.
    let cases: Vec<(&str, &str, Value, &str)> = vec![
        ("no alerts", ALERTS, webhook(&[]), "alerts"),
        (
            "alerts absent",
            ALERTS,
            json!({"version": "4", "status": "firing"}),
            "alerts",
        ),
        (
            "alerts a text",
            ALERTS,
            with(webhook(&[]), "alerts", json!("many")),
            "alerts",
        ),
        ("a list for a webhook", ALERTS, json!([1, 2]), "JSON"),
        (
            "no alertname",
            ALERTS,
            hook(alert().without_label("alertname")),
            "alertname",
        ),
        (
            "an empty alertname",
            ALERTS,
            hook(alert().label("alertname", "")),
            "alertname",
        ),
        (
            "labels a list",
            ALERTS,
            hook(alert().field("labels", json!(["alertname"]))),
            "labels",
        ),
        (
            "a label a list",
            ALERTS,
            hook(alert().field("labels", json!({"alertname": [5]}))),
            "alertname",
        ),
        (
            "annotations a text",
            ALERTS,
            hook(alert().field("annotations", "none")),
            "annotations",
        ),
        (
            "startsAt no time",
            ALERTS,
            hook(alert().field("startsAt", "yesterday")),
            "startsAt",
        ),
        (
            "startsAt absent",
            ALERTS,
            hook(alert().field("startsAt", Value::Null)),
            "startsAt",
        ),
        (
            "no reason",
            EVENTS,
            with(warning(), "reason", json!("")),
            "reason",
        ),
        (
            "reason a number",
            EVENTS,
            with(warning(), "reason", json!(7)),
            "reason",
        ),
        (
            "no involvedObject",
            EVENTS,
            with(warning(), "involvedObject", Value::Null),
            "involvedObject",
        ),
        (
            "no kind",
            EVENTS,
            object("kind", json!("")),
            "involvedObject.kind",
        ),
        (
            "no name",
            EVENTS,
            object("name", json!("")),
            "involvedObject.name",
        ),
        (
            "type absent",
            EVENTS,
            with(warning(), "type", Value::Null),
            "type",
        ),
    ];
    for (wrong, path, body, named) in cases {
        let response = context
            .http
            .post(context.gateway().url(path)?, &body)
            .send()
            .await?;
        response
            .is_problem(400, &[named])
            .with_context(|| wrong.to_owned())?;
    }
    for path in [ALERTS, EVENTS] {
        for (wrong, body, named) in [
            ("cut off", r#"{"alerts": [{"labels""#, "line 1 column 21"),
            ("no JSON", "alert!", "JSON"),
            ("empty", "", "JSON"),
        ] {
            let request = context.http.request(Method::POST, context.gateway().url(path)?);
            let response = request
                .header("content-type", "application/json")
                .body(body)
                .send()
                .await?;
            response
                .is_problem(400, &[named])
                .with_context(|| format!("{wrong}, {path}"))?;
        }
    }
    let requests = context.cluster().await?.requests(&namespace).await?;
    ensure!(
        requests.is_empty(),
        "rejected signals have created requests: {requests:#?}"
    );
    Ok(())
}

async fn wrong_requests(context: &Context) -> Result<()> {
    const LIMIT: usize = 4 << 20;
    let gateway = context.gateway();
    let send = async |request: Request| -> Result<Response> { request.send().await };

    send(context.http.get(gateway.url("/api/v1/signals/none")?))
        .await?
        .is_problem(404, &["/api/v1/signals/none"])?;
    for path in [ALERTS, EVENTS] {
        let url = gateway.url(path)?;
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let response = send(context.http.request(method, &url)).await?;
            response.is_problem(405, &[])?.has_header("allow", "POST")?;
        }
        let padding = "x".repeat(LIMIT);
        let large = webhook(&[Alert::new("Large", "default", "pod").annotation("padding", &padding)]);
        send(context.http.post(&url, &large))
            .await?
            .is_problem(413, &["4194304"])?;

        let text = context
            .http
            .request(Method::POST, &url)
            .header("content-type", "text/plain")
            .body("{}");
        send(text).await?.is_problem(415, &["application/json"])?;
    }
    Ok(())
}
