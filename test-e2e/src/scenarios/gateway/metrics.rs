//! Metrics for operators.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::gateway::{ALERTS, Alert};
use crate::harness::context::Context;
use crate::harness::part::Part::{Gateway, Kubernetes};
use crate::harness::scenario::Requirement::Kubeconfig;
use crate::harness::scenario::Scenario;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] =
    &[
        Scenario::new("g03_metrics_exist_and_count_exactly", |c| Box::pin(metrics(c)))
            .shares(&[Kubernetes])
            .alone(&[Gateway])
            .requires(&[Kubeconfig])
            .takes(2, 60),
    ];

async fn metrics(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let gateway = context.gateway();
    let before = gateway.metrics().await?;
    let alert = |pod: &str| Alert::new("HighMemoryUsage", &namespace, pod).label("severity", "critical");
    gateway.alert(&alert("a")).await?.expect(201)?;
    gateway.alert(&alert("a")).await?.expect(202)?;
    gateway.alert(&alert("a")).await?.expect(202)?;
    gateway.alert(&alert("b")).await?.expect(201)?;
    gateway
        .alert(&alert("c").without_label("alertname"))
        .await?
        .expect(400)?;

    // A response is sent just before it is counted.
    let endpoint = ("endpoint", ALERTS);
    let expected = [
        (
            "gateway_signals_received_total",
            vec![("source_type", "prometheus-alert"), ("severity", "critical")],
            4.0,
        ),
        ("gateway_signals_deduplicated_total", vec![], 2.0),
        ("gateway_crds_created_total", vec![], 2.0),
        (
            "gateway_http_request_duration_seconds_count",
            vec![endpoint, ("method", "POST"), ("status", "201")],
            2.0,
        ),
        (
            "gateway_http_request_duration_seconds_count",
            vec![endpoint, ("method", "POST"), ("status", "202")],
            2.0,
        ),
        (
            "gateway_http_request_duration_seconds_count",
            vec![endpoint, ("method", "POST"), ("status", "400")],
            1.0,
        ),
        ("gateway_http_request_duration_seconds_count", vec![], 5.0),
    ];
    let after = until(
        Duration::from_secs(10),
        "every response to be counted exactly once",
        async || {
            let after = gateway.metrics().await?;
            for (name, labels, expected) in &expected {
                let grown = after.grown_since(&before, name, labels);
                let state = format!("{name}{labels:?} has grown by {grown}, expected {expected}");
                if grown > *expected {
                    return Ok(Seen::Never(state));
                }
                if grown < *expected {
                    return Ok(Seen::NotYet(state));
                }
            }
            Ok(Seen::Yes(after))
        },
    )
    .await?;
    for name in [
        "gateway_audit_spool_events",
        "gateway_audit_spool_bytes",
        "gateway_audit_spool_oldest_seconds",
        "gateway_circuit_breaker_state",
    ] {
        ensure!(after.has(name), "no {name} among {:?}", after.names());
    }
    let text = after.names().join(" ");
    ensure!(
        !text.contains(context.token()),
        "a value from a signal has become a metric: {text}"
    );
    Ok(())
}
