//! The endpoints of probes and load balancers.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::gateway::Alert;
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, Gateway, Kubernetes};
use crate::harness::scenario::Requirement::Kubeconfig;
use crate::harness::scenario::Scenario;

pub(crate) const SCENARIOS: &[Scenario] =
    &[
        Scenario::new("g07_the_gateway_is_alive_and_ready_under_load", |c| {
            Box::pin(alive_and_ready(c))
        })
        .shares(&[Gateway, Kubernetes, DataStorage])
        .requires(&[Kubeconfig])
        .takes(2, 60),
    ];

async fn alive_and_ready(context: &Context) -> Result<()> {
    const ALERTS: usize = 400;
    const AT_ONCE: usize = 32;
    /// Kubelet's defaults: a slower probe has failed, and this many failures in a row make a pod unready.
    const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
    const FAILURES: usize = 3;

    let gateway = context.gateway();
    let alive = gateway.health("/healthz").await?.expect(200)?;
    alive.has("/status", "ok")?.has("/service", "gateway")?;
    alive.ensure(!alive.text_at("/version")?.is_empty(), "expected a version")?;
    let ready = gateway.health("/readyz").await?.expect(200)?;
    ready.has("/status", "ready")?.has("/service", "gateway")?;
    let dependencies = ready.at("/dependencies")?;
    let count = dependencies.as_object().map_or(0, serde_json::Map::len);
    ready.ensure(count > 0, "expected the state of each dependency")?;

    let namespace = context.namespace().await?;
    let load = stream::iter(0..ALERTS)
        .map(|number| {
            let alert = Alert::new("Load", &namespace, &format!("worker-{}", number % 10));
            async move { gateway.alert(&alert).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|response| async move {
            response.ensure(
                [201, 202].contains(&response.status),
                "expected each alert to be accepted",
            )?;
            Ok(())
        });
    let mut load = std::pin::pin!(load);
    let (mut probes, mut late) = (0, [0; 2]);
    loop {
        let probe = async {
            for (path, late) in ["/healthz", "/readyz"].into_iter().zip(&mut late) {
                let response = gateway.health(path).await?.expect(200)?;
                *late = if response.took < PROBE_TIMEOUT {
                    0
                } else {
                    *late + 1
                };
                response.ensure(
                    *late < FAILURES,
                    "expected fewer than three probes in a row above their time limit",
                )?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            biased;
            done = &mut load => {
                done?;
                break;
            }
            probed = probe => {
                probed?;
                probes += 1;
            }
        }
    }
    ensure!(probes > 0, "the load ended before the first probe");
    Ok(())
}
