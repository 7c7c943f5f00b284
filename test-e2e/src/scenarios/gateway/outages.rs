//! Outages of other components and restarts of the Gateway: senders lose nothing.

use anyhow::Result;

use crate::gateway::Alert;
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, Gateway, Kubernetes, PostgreSql, Redis};
use crate::harness::scenario::Requirement::{Control, Crash, Kubeconfig, Rollout};
use crate::harness::scenario::Scenario;
use crate::load::Alerts;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("g13_a_redis_outage_does_not_affect_the_gateway", |c| {
        Box::pin(redis_outage(c))
    })
    .shares(&[Gateway, Kubernetes])
    .alone(&[Redis])
    .requires(&[Kubeconfig, Control])
    .takes(5, 120),
    Scenario::new("g22_a_rolling_restart_under_load_fails_no_alert", |c| {
        Box::pin(rolling_restart(c))
    })
    .shares(&[Kubernetes])
    .alone(&[Gateway])
    .requires(&[Kubeconfig, Control, Rollout])
    .takes(15, 240),
    Scenario::new(
        "g28_audit_events_survive_a_datastorage_outage_and_a_kill_of_the_gateway",
        |c| Box::pin(spool(c)),
    )
    .shares(&[Kubernetes, PostgreSql])
    .alone(&[Gateway, DataStorage])
    .requires(&[Kubeconfig, Control, Crash])
    .takes(40, 300),
];

async fn redis_outage(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let gateway = context.gateway();
    context.control()?.stop(Redis).await?;
    for number in 0..5 {
        let alert = Alert::new("HighMemoryUsage", &namespace, &format!("worker-{number}"));
        gateway.alert(&alert).await?.expect(201)?;
        gateway
            .alert(&alert)
            .await?
            .expect(202)?
            .has("/metadata/count", 2)?;
        gateway.health("/readyz").await?.expect(200)?;
    }
    Ok(())
}

async fn rolling_restart(context: &Context) -> Result<()> {
    let alerts = Alerts::new(context, 8, 100).await?.only_while_ready()?;
    let restart = async {
        alerts.more(50).await?;
        context.control()?.restart(Gateway).await?;
        alerts.more(50).await
    };
    alerts.during(restart).await?;
    alerts.tries().none()?;
    alerts.are_counted().await
}

async fn spool(context: &Context) -> Result<()> {
    let alerts = Alerts::new(context, 8, 20).await?;
    let faults = async {
        alerts.more(20).await?;
        context.control()?.stop(DataStorage).await?;
        alerts.more(200).await?;
        context.control()?.kill(Gateway).await?;
        context.control()?.start(Gateway).await?;
        alerts.more(200).await?;
        context.gateway().health("/readyz").await?.expect(200)?;
        context.control()?.start(DataStorage).await
    };
    alerts.during(faults).await?;
    alerts.are_counted().await?;
    alerts.are_audited().await
}
