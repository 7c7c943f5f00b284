//! Headers of every response, and the size limits of requests.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use uuid::Uuid;

use crate::gateway::{ALERTS, Alert, webhook};
use crate::harness::context::Context;
use crate::harness::part::Part::{Gateway, Kubernetes};
use crate::harness::scenario::Requirement::Kubeconfig;
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "g19_every_response_has_security_headers_and_its_own_request_id",
        |c| Box::pin(headers(c)),
    )
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig]),
    Scenario::new(
        "g21_a_body_at_the_limit_is_accepted_and_one_byte_more_is_rejected",
        |c| Box::pin(body_limit(c)),
    )
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig]),
];

async fn headers(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let gateway = context.gateway();
    let url = gateway.url(ALERTS)?;
    let alert = webhook(&[Alert::new("HighMemoryUsage", &namespace, "payment-api-789")]);
    let given = Uuid::new_v4().to_string();
    let large = "x".repeat(5 << 20);
    let requests = [
        (201, gateway.webhook(&alert)?),
        (
            202,
            gateway.webhook(&alert)?.header("x-request-id", given.clone()),
        ),
        (400, gateway.webhook(&webhook(&[]))?),
        (404, context.http.get(gateway.url("/none")?)),
        (405, context.http.get(&url)),
        (
            413,
            context
                .http
                .request(Method::POST, &url)
                .header("content-type", "application/json")
                .body(large),
        ),
        (
            415,
            context
                .http
                .request(Method::POST, &url)
                .header("content-type", "text/xml")
                .body("<a/>"),
        ),
    ];
    let mut ids = BTreeSet::from([given]);
    for (status, request) in requests {
        let response = request.send().await?.expect(status)?;
        response
            .has_header("x-content-type-options", "nosniff")?
            .has_header("x-frame-options", "DENY")?
            .has_header("content-security-policy", "default-src 'none'")?
            .has_header("referrer-policy", "no-referrer")?;
        let strict = response.header("strict-transport-security").unwrap_or_default();
        response.ensure(strict.contains("max-age="), "expected strict-transport-security")?;
        response.ensure(
            response.header("access-control-allow-origin").is_none(),
            "expected no cross-origin access",
        )?;
        let id = response.header("x-request-id").unwrap_or_default();
        id.parse::<Uuid>()
            .with_context(|| response.wrong("expected a UUID as x-request-id").to_string())?;
        response.ensure(
            ids.insert(id.to_owned()),
            "expected a request id that was not seen before",
        )?;
    }
    Ok(())
}

async fn body_limit(context: &Context) -> Result<()> {
    const LIMIT: usize = 4 << 20;
    /// Maximum bytes of annotations in a request.
    const STORED: usize = 16 << 10;
    let namespace = context.namespace().await?;
    let body = |size: usize| {
        let empty = webhook(&[Alert::new("Large", &namespace, "pod").annotation("padding", "")]).to_string();
        let padding = "x".repeat(size - empty.len());
        let body = webhook(&[Alert::new("Large", &namespace, "pod").annotation("padding", &padding)]);
        // Times of the same length were written twice.
        ensure!(
            body.to_string().len() == size,
            "the body has {} bytes and not {size}",
            body.to_string().len()
        );
        Ok(body)
    };
    context
        .gateway()
        .webhook(&body(LIMIT + 1)?)?
        .send()
        .await?
        .is_problem(413, &["4194304"])?;
    let requests = context.cluster().await?.requests(&namespace).await?;
    ensure!(
        requests.is_empty(),
        "the oversized body has created {requests:#?}"
    );
    let response = context
        .gateway()
        .webhook(&body(LIMIT)?)?
        .send()
        .await?
        .expect(201)?;
    let request = context
        .cluster()
        .await?
        .request(&namespace, &response.text_at("/remediationRequestName")?)
        .await?;
    let padding = request["spec"]["signalAnnotations"]["padding"]
        .as_str()
        .map_or(0, str::len);
    ensure!(
        (STORED - 1_000..=STORED).contains(&padding),
        "expected {STORED} bytes of the annotation in the request, found {padding}"
    );
    let truncated = &request["metadata"]["annotations"]["kubernaut.ai/truncated"];
    ensure!(
        *truncated == "signalAnnotations,originalPayload",
        "expected the truncated fields to be named, found {truncated}"
    );
    Ok(())
}
