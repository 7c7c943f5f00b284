//! The request that a signal creates: its fields, and the fingerprint that distinguishes incidents.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::gateway::{Alert, event, webhook};
use crate::harness::context::Context;
use crate::harness::part::Part::{Gateway, Kubernetes};
use crate::harness::scenario::Requirement::Kubeconfig;
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "g08_a_warning_event_creates_a_request_and_a_normal_one_is_rejected",
        |c| Box::pin(events(c)),
    )
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig]),
    Scenario::new("g10_the_request_has_the_content_of_the_alert", |c| {
        Box::pin(fields(c))
    })
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig]),
    Scenario::new("g11_the_fingerprint_is_the_documented_one_and_stable", |c| {
        Box::pin(fingerprint(c))
    })
    .shares(&[Gateway, Kubernetes])
    .requires(&[Kubeconfig]),
];

async fn events(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let warning = event("OOMKilled", "Pod", "payment-api-789", &namespace);
    let response = context.gateway().event(&warning).await?.expect(201)?;
    response.has("/remediationRequestNamespace", namespace.as_str())?;
    let name = response.text_at("/remediationRequestName")?;
    let request = context.cluster().await?.request(&namespace, &name).await?;
    let target = json!({"kind": "Pod", "name": "payment-api-789", "namespace": namespace});
    for (pointer, expected) in [
        ("/spec/targetResource", target),
        ("/spec/signalName", json!("OOMKilled")),
        ("/spec/signalType", json!("kubernetes-event")),
        ("/spec/severity", json!("critical")),
        ("/spec/signalFingerprint", response.at("/fingerprint")?),
    ] {
        holds(&request, pointer, &expected)?;
    }
    // The reason decides: one that is not known to be critical is a warning.
    let other = context
        .gateway()
        .event(&event("BackOff", "Pod", "payment-api-789", &namespace))
        .await?
        .expect(201)?;
    let other = context
        .cluster()
        .await?
        .request(&namespace, &other.text_at("/remediationRequestName")?)
        .await?;
    holds(&other, "/spec/severity", &json!("warning"))?;

    let mut normal = event("Scheduled", "Pod", "payment-api-789", &namespace);
    normal["type"] = json!("Normal");
    context
        .gateway()
        .event(&normal)
        .await?
        .is_problem(400, &["type", "Warning"])?;
    let requests = context.cluster().await?.requests(&namespace).await?;
    ensure!(
        requests.len() == 2,
        "expected requests of the two warnings only, found {requests:#?}"
    );
    Ok(())
}

async fn fields(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let alert = Alert::new("HighMemoryUsage", &namespace, "payment-api-789")
        .label("severity", "critical")
        .label("team", "payments / EU (west)")
        .annotation("description", "memory über 90 %")
        .field("startsAt", "2026-01-02T03:04:05.678Z");
    let mut hook = webhook(std::slice::from_ref(&alert));
    hook["commonLabels"] = json!({"cluster": "production", "team": "is overridden by the alert's own"});
    hook["commonAnnotations"] = json!({"dashboard": "https://dashboards.example/7"});
    let response = context.gateway().webhook(&hook)?.send().await?.expect(201)?;
    let name = response.text_at("/remediationRequestName")?;
    let fingerprint = response.text_at("/fingerprint")?;
    let request = context.cluster().await?.request(&namespace, &name).await?;

    let mut labels = alert.body()["labels"].clone();
    labels["cluster"] = json!("production");
    let mut annotations = alert.body()["annotations"].clone();
    annotations["dashboard"] = json!("https://dashboards.example/7");
    for (pointer, expected) in [
        ("/apiVersion", json!("kubernaut.ai/v1alpha1")),
        ("/kind", json!("RemediationRequest")),
        ("/spec/signalFingerprint", json!(fingerprint)),
        ("/spec/signalName", json!("HighMemoryUsage")),
        ("/spec/severity", json!("critical")),
        ("/spec/signalType", json!("prometheus-alert")),
        ("/spec/targetType", json!("kubernetes")),
        (
            "/spec/targetResource",
            json!({"kind": "Pod", "name": "payment-api-789", "namespace": namespace}),
        ),
        ("/spec/signalLabels", labels),
        ("/spec/signalAnnotations", annotations),
        ("/metadata/labels/app.kubernetes.io~1managed-by", json!("gateway")),
        (
            "/metadata/labels/app.kubernetes.io~1component",
            json!("remediation"),
        ),
        (
            "/metadata/labels/kubernaut.ai~1signal-type",
            json!("prometheus-alert"),
        ),
        ("/metadata/labels/kubernaut.ai~1severity", json!("critical")),
        (
            "/metadata/labels/kubernaut.ai~1signal-fingerprint",
            json!(fingerprint[..63]),
        ),
    ] {
        holds(&request, pointer, &expected)?;
    }
    for pointer in [
        "/spec/receivedTime",
        "/metadata/annotations/kubernaut.ai~1created-at",
    ] {
        is_now(&request, pointer)?;
    }
    let fired: jiff::Timestamp = text(&request, "/spec/firingTime")?.parse()?;
    let expected: jiff::Timestamp = "2026-01-02T03:04:05.678Z".parse()?;
    ensure!(
        fired.as_second() == expected.as_second(),
        "expected firingTime {expected}, found {fired}"
    );
    let payload = text(&request, "/spec/originalPayload")?;
    ensure!(
        payload.contains("memory über 90 %"),
        "expected the alert's annotation in originalPayload: {payload}"
    );

    context.gateway().webhook(&hook)?.send().await?.expect(202)?;
    let counted = context.cluster().await?.request(&namespace, &name).await?;
    holds(&counted, "/status/deduplication/occurrenceCount", &json!(2))?;
    is_now(&counted, "/status/deduplication/firstSeenAt")?;
    is_now(&counted, "/status/deduplication/lastSeenAt")?;
    holds(&counted, "/spec", &request["spec"])?;
    namespace_absent(context).await
}

/// A signal of a missing namespace is not lost: its request is created in the Gateway's namespace and labelled.
async fn namespace_absent(context: &Context) -> Result<()> {
    let (absent, fallback) = (context.named("absent"), context.stack.namespace.as_str());
    let response = context
        .gateway()
        .alert(&Alert::new("HighMemoryUsage", &absent, "pod-1"))
        .await?
        .expect(201)?;
    response.has("/remediationRequestNamespace", fallback)?;
    let name = response.text_at("/remediationRequestName")?;
    let request = context.cluster().await?.request(fallback, &name).await?;
    context.cluster().await?.delete_request(fallback, &name).await?;
    holds(&request, "/spec/targetResource/namespace", &json!(absent))?;
    holds(
        &request,
        "/metadata/labels/kubernaut.ai~1origin-namespace",
        &json!(absent),
    )?;
    holds(
        &request,
        "/metadata/labels/kubernaut.ai~1cluster-scoped",
        &json!("true"),
    )
}

async fn fingerprint(context: &Context) -> Result<()> {
    const KNOWN: &str = "8ac6f8bc4acc94d391b44e85621242bb042d3ffb137aa5fc0d10b00316f30751";
    let (gateway, cluster) = (context.gateway(), context.cluster().await?);
    let known = Alert::new("HighMemoryUsage", "prod-payment-service", "payment-api-789");
    let response = gateway.alert(&known).await?;
    // The check value fixes the namespace, so that an earlier run may have left a request there and the alert may
    // be a duplicate. Only the fingerprint is proven here.
    response.ensure(
        [201, 202].contains(&response.status),
        "expected the alert to be accepted",
    )?;
    response.has("/fingerprint", KNOWN)?;
    let made_in = response.text_at("/remediationRequestNamespace")?;
    cluster
        .delete_request(&made_in, &response.text_at("/remediationRequestName")?)
        .await?;

    let namespace = context.namespace().await?;
    let alert = || Alert::new("HighMemoryUsage", &namespace, "payment-api-789");
    let first = gateway.alert(&alert()).await?.expect(201)?;
    let same = first.text_at("/fingerprint")?;
    for repeat in [
        alert().label("severity", "critical"),
        alert()
            .label("instance", "10.0.0.7:9090")
            .annotation("summary", "said otherwise"),
        alert()
            .field("startsAt", "2026-01-02T03:04:05Z")
            .field("fingerprint", "0000000000000000"),
    ] {
        gateway
            .alert(&repeat)
            .await?
            .expect(202)?
            .has("/fingerprint", same.as_str())?;
    }
    for different in [
        alert().label("alertname", "HighCpuUsage"),
        alert().label("pod", "payment-api-790"),
        alert()
            .without_label("pod")
            .label("deployment", "payment-api-789"),
    ] {
        let response = gateway.alert(&different).await?.expect(201)?;
        let found = response.text_at("/fingerprint")?;
        response.ensure(
            found != same,
            "expected another incident to have another fingerprint",
        )?;
    }
    Ok(())
}

fn holds(document: &Value, pointer: &str, expected: &Value) -> Result<()> {
    let found = document.pointer(pointer).unwrap_or(&Value::Null);
    ensure!(
        found == expected,
        "expected {expected} at {pointer}, found {found}, in {document:#}"
    );
    Ok(())
}

fn text(document: &Value, pointer: &str) -> Result<String> {
    let found = document.pointer(pointer).and_then(Value::as_str);
    ensure!(found.is_some(), "expected a text at {pointer} in {document:#}");
    Ok(found.unwrap_or_default().to_owned())
}

/// Checks that the time at the pointer is within this minute.
fn is_now(document: &Value, pointer: &str) -> Result<()> {
    let time: jiff::Timestamp = text(document, pointer)?.parse()?;
    let ago = jiff::Timestamp::now().as_second() - time.as_second();
    ensure!(
        (-60..60).contains(&ago),
        "expected {pointer} to be now, it is {ago} s ago"
    );
    Ok(())
}
