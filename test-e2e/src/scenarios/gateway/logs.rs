//! The Gateway's logs about requests.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::gateway::Alert;
use crate::harness::context::Context;
use crate::harness::part::Part::{Gateway, Kubernetes};
use crate::harness::scenario::Requirement::{Control, Kubeconfig};
use crate::harness::scenario::Scenario;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new(
    "g15_logs_are_json_with_the_request_id_and_without_payloads",
    |c| Box::pin(logs(c)),
)
.shares(&[Gateway, Kubernetes])
.requires(&[Kubeconfig, Control])
.takes(2, 60)];

async fn logs(context: &Context) -> Result<()> {
    let namespace = context.namespace().await?;
    let secret = format!("secret-{}", uuid::Uuid::new_v4().simple());
    let alert = Alert::new("HighMemoryUsage", &namespace, "payment-api-789")
        .label("customer", &secret)
        .annotation("description", &format!("the token is {secret}"));
    let accepted = context.gateway().alert(&alert).await?.expect(201)?;
    let rejected = alert.clone().field("labels", json!({"customer": secret}));
    let rejected = context.gateway().alert(&rejected).await?.expect(400)?;
    for response in [&accepted, &rejected] {
        let id = response.header("x-request-id").unwrap_or_default().to_owned();
        let log = until(
            Duration::from_secs(20),
            &format!("a log line of request {id}"),
            async || {
                let log = context.control()?.logs(Gateway).await?;
                Ok(if log.contains(&id) {
                    Seen::Yes(log)
                } else {
                    Seen::NotYet(format!("{} lines", log.lines().count()))
                })
            },
        )
        .await?;
        ensure!(!log.contains(&secret), "a value of the payload is in the log");
        let lines: Vec<_> = log.lines().filter(|line| line.contains(&id)).collect();
        for line in &lines {
            let entry: Value = serde_json::from_str(line)
                .map_err(|error| anyhow::anyhow!("expected JSON in the log, found {line}: {error}"))?;
            for field in ["timestamp", "level"] {
                ensure!(entry[field].is_string(), "expected {field} in {line}");
            }
            ensure!(
                [&entry["request_id"], &entry["span"]["request_id"]].contains(&&json!(id)),
                "expected the request_id in a field of its own in {line}"
            );
        }
        // One access log line: request, status, duration.
        let access: Vec<_> = lines.iter().filter(|line| line.contains("\"status\"")).collect();
        ensure!(
            access.len() == 1,
            "expected one line with the request's status, found {access:?}"
        );
    }
    Ok(())
}
