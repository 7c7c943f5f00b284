//! Authorization of senders, and cross-origin requests of web pages.

use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;

use crate::gateway::{ALERTS, Alert, webhook};
use crate::harness::context::Context;
use crate::harness::part::Part::{Gateway, Kubernetes};
use crate::harness::scenario::Requirement::{Kubeconfig, Programs};
use crate::harness::scenario::Scenario;
use crate::http::Response;
use crate::instance::Program;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "g17_web_pages_are_rejected_unless_their_origin_is_configured",
        |c| Box::pin(cors(c)),
    )
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig, Programs])
    .takes(3, 60),
    Scenario::new(
        "g25_only_an_authorized_account_may_send_and_only_while_it_is_authorized",
        |c| Box::pin(authorization(c)),
    )
    .shares(&[Kubernetes])
    .requires(&[Kubeconfig, Programs])
    .takes(5, 90),
];

async fn cors(context: &Context) -> Result<()> {
    const OURS: &str = "https://console.payments.example";
    const THEIRS: &str = "https://evil.example";
    let namespace = context.namespace().await?;
    let configured = Program::gateway(context, &json!({"http": {"cors_origins": [OURS]}}))?
        .serve()
        .await?;
    let preflight = async |url: &str, origin: &str| -> Result<Response> {
        let request = context
            .http
            .request(Method::OPTIONS, url)
            .header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        request
            .header("access-control-request-headers", "content-type")
            .send()
            .await
    };
    let allowed = |response: &Response| response.header("access-control-allow-origin").map(str::to_owned);

    let (closed, open) = (
        context.gateway().url(ALERTS)?,
        format!("{}{ALERTS}", configured.api),
    );
    for (url, origin) in [(&closed, OURS), (&closed, THEIRS), (&open, THEIRS)] {
        let response = preflight(url, origin).await?;
        response.ensure(
            allowed(&response).is_none(),
            format!("expected {origin} to be rejected"),
        )?;
    }
    let response = preflight(&open, OURS).await?.expect(200)?;
    response.has_header("access-control-allow-origin", OURS)?;
    let methods = response
        .header("access-control-allow-methods")
        .unwrap_or_default();
    response.ensure(methods.contains("POST"), "expected POST to be allowed")?;
    let headers = response
        .header("access-control-allow-headers")
        .unwrap_or_default()
        .to_ascii_lowercase();
    response.ensure(
        headers.contains("content-type"),
        "expected Content-Type to be allowed",
    )?;

    let alert = webhook(&[Alert::new("HighMemoryUsage", &namespace, "payment-api-789")]);
    let accepted = context
        .http
        .post(&open, &alert)
        .header("origin", OURS)
        .send()
        .await?
        .expect(201)?;
    accepted.has_header("access-control-allow-origin", OURS)?;
    let accepted = context
        .http
        .post(&open, &alert)
        .header("origin", THEIRS)
        .send()
        .await?
        .expect(202)?;
    accepted.ensure(
        allowed(&accepted).is_none(),
        "expected no access for another origin",
    )?;
    Ok(())
}

async fn authorization(context: &Context) -> Result<()> {
    /// How long the instance caches the cluster's decision about a token.
    const CACHE_TTL: Duration = Duration::from_millis(500);
    let namespace = context.namespace().await?;
    let cluster = context.cluster().await?;
    let auth = json!({"auth": {
        "mode": "kubernetes",
        "namespace": namespace,
        "service": "gateway-service",
        "cache_ttl_ms": CACHE_TTL.as_millis() as u64,
    }});
    let gateway = Program::gateway(context, &auth)?.serve().await?;
    let sender = cluster.account(&namespace, "sender").await?;
    let stranger = cluster.account(&namespace, "stranger").await?;
    cluster
        .allow(&namespace, "sender", "services", "gateway-service", &["create"])
        .await?;

    let alert = webhook(&[Alert::new("HighMemoryUsage", &namespace, "payment-api-789")]);
    let send = async |token: Option<&str>| -> Result<Response> {
        let mut request = context.http.post(format!("{}{ALERTS}", gateway.api), &alert);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.send().await
    };
    let invalid = "Bearer error=\"invalid_token\"";
    for (token, challenge) in [
        (None, "Bearer"),
        (Some("not-a-token"), invalid),
        (Some(""), "Bearer"),
    ] {
        send(token)
            .await?
            .is_problem(401, &[])?
            .has_header("www-authenticate", challenge)?;
    }
    send(Some(&stranger)).await?.is_problem(403, &["create"])?;
    let requests = cluster.requests(&namespace).await?;
    ensure!(
        requests.is_empty(),
        "unauthorized signals have created {requests:#?}"
    );
    send(Some(&sender)).await?.expect(201)?;
    send(Some(&sender)).await?.expect(202)?;

    cluster.delete_account(&namespace, "sender").await?;
    until(
        Duration::from_secs(20),
        "the deleted account's token to be rejected",
        async || {
            let response = send(Some(&sender)).await?;
            Ok(match response.status {
                401 => Seen::Yes(()),
                202 => Seen::NotYet(response.to_string()),
                _ => Seen::Never(response.to_string()),
            })
        },
    )
    .await
}
