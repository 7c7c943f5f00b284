//! Authentication and authorization of the audit trail.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::datastorage::{EVENTS, event};
use crate::harness::context::Context;
use crate::harness::part::Part::{Kubernetes, PostgreSql, Redis};
use crate::harness::scenario::Requirement::{self, Kubeconfig, Programs};
use crate::harness::scenario::Scenario;
use crate::instance::Program;

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "s24_only_authorized_accounts_write_and_read_and_the_actor_is_the_client",
    |c| Box::pin(authorization(c)),
)
.shares(&[Kubernetes, PostgreSql, Redis])
.requires(&[Kubeconfig, Programs, Requirement::Redis])
.takes(5, 90)];

async fn authorization(context: &Context) -> Result<()> {
    const SERVICE: &str = "data-storage-service";
    let namespace = context.namespace().await?;
    let (cluster, correlation) = (context.cluster().await?, context.named("authorized"));
    let mut tokens = Vec::new();
    for (name, verbs) in [
        ("writer", &["create"][..]),
        ("reader", &["get"]),
        ("holder", &["update", "get"]),
    ] {
        tokens.push(cluster.account(&namespace, name).await?);
        cluster
            .allow(&namespace, name, "services", SERVICE, verbs)
            .await?;
    }
    let stranger = cluster.account(&namespace, "stranger").await?;
    let [writer, reader, holder] = &tokens[..] else {
        anyhow::bail!("expected three accounts")
    };
    let auth = json!({"auth": {
        "mode": "kubernetes",
        "kubeconfig": context.stack.kubeconfig,
        "namespace": namespace,
        "service": SERVICE,
    }});
    let datastorage = Program::datastorage(context, &auth)?.serve().await?;
    let events = format!("{}{EVENTS}", datastorage.api);
    let bearer = |token: &str| format!("Bearer {token}");

    let mut sent = event(&correlation, "gateway.signal.received", Duration::ZERO);
    sent["actor_id"] = json!("somebody-else");
    let write = context.http.post(&events, &sent);
    let read = context.http.get(&events).query("correlation_id", &correlation);
    let hold = json!({"correlation_id": correlation, "reason": "case 7"});
    let hold = context
        .http
        .post(format!("{}/api/v1/audit/legal-hold", datastorage.api), &hold);
    for request in [&write, &read, &hold] {
        request
            .clone()
            .send()
            .await?
            .is_problem(401, &[])?
            .has_header("www-authenticate", "Bearer")?;
        request
            .clone()
            .header("authorization", bearer("not-a-token"))
            .send()
            .await?
            .is_problem(401, &[])?
            .has_header("www-authenticate", "Bearer error=\"invalid_token\"")?;
        request
            .clone()
            .header("authorization", bearer(&stranger))
            .send()
            .await?
            .is_problem(403, &[])?;
    }
    for (request, token) in [
        (&write, reader),
        (&write, holder),
        (&read, writer),
        (&hold, writer),
        (&hold, reader),
    ] {
        request
            .clone()
            .header("authorization", bearer(token))
            .send()
            .await?
            .is_problem(403, &[])?;
    }
    write
        .header("authorization", bearer(writer))
        .send()
        .await?
        .expect(201)?;
    let page = read
        .header("authorization", bearer(reader))
        .send()
        .await?
        .expect(200)?;
    let actor = format!("system:serviceaccount:{namespace}:writer");
    page.has("/data/0/actor_id", actor.as_str())?
        .has("/pagination/total", 1)?;
    let held = hold
        .header("authorization", bearer(holder))
        .send()
        .await?
        .expect(201)?;
    held.has("/placed_by", format!("system:serviceaccount:{namespace}:holder"))?;

    // A path without a route needs no token.
    let nowhere = format!("{}/none", datastorage.api);
    context
        .http
        .get(nowhere)
        .send()
        .await?
        .is_problem(404, &["/none"])?;
    Ok(())
}
