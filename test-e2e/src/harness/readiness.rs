//! Checks that components are ready, as scenarios that share them expect.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::part::Part;
use crate::cluster;
use crate::http::Http;
use crate::sql;
use crate::stack::Stack;
use crate::wait::{Seen, until};

/// Maximum time for a component to recover after a fault.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until each of the components is ready.
pub(crate) async fn wait_for(stack: &Stack, parts: impl IntoIterator<Item = Part>) -> Result<()> {
    let http = Http::new()?;
    let wait = async |part: Part| {
        until(DEADLINE, &format!("{part} to be ready"), async || {
            look(stack, &http, part).await
        })
        .await
    };
    futures::future::try_join_all(parts.into_iter().map(wait))
        .await
        .map(drop)
}

/// Checks once that each service of the stack file responds, instead of letting every scenario fail.
///
/// # Errors
/// Names the service, its URL and the last response.
pub(crate) async fn services_respond(stack: &Stack) -> Result<()> {
    const DEADLINE: Duration = Duration::from_secs(15);
    let http = Http::new()?;
    for (service, ports) in &stack.services {
        let Some(health) = ports.get("health") else {
            continue;
        };
        let look = async || {
            Ok(Seen::Yes(
                http.get(format!("{health}/healthz")).send().await?.expect(200)?,
            ))
        };
        let response = until(DEADLINE, &format!("a response of {service} at {health}"), look).await?;
        response.has("/service", service.as_str())?;
    }
    Ok(())
}

/// A service counts as ready when it and all its dependencies are; a component without a URL in the stack file is
/// checked through the services that depend on it.
async fn look(stack: &Stack, http: &Http, part: Part) -> Result<Seen<()>> {
    match part {
        Part::Gateway | Part::DataStorage => {
            let url = format!("{}/readyz", stack.service(part.name(), "health")?);
            let response = http.get(url).send().await?;
            let down = response
                .json()?
                .pointer("/dependencies")
                .map(not_ok)
                .unwrap_or_default();
            let whole = response.status == 200 && down.is_empty();
            return Ok(if whole {
                Seen::Yes(())
            } else {
                Seen::NotYet(response.to_string())
            });
        }
        Part::PostgreSql => {
            if let Ok(url) = stack.component("postgresql", "sql") {
                sql::connect(url).await?.simple_query("SELECT 1").await?;
            }
        }
        Part::Redis => {
            if let Ok(url) = stack.component("redis", "redis") {
                let mut redis = redis::Client::open(url)?
                    .get_multiplexed_async_connection()
                    .await?;
                redis::cmd("PING").query_async::<String>(&mut redis).await?;
            }
        }
        Part::Kubernetes => {
            if let Some(kubeconfig) = &stack.kubeconfig {
                let client = cluster::connect(kubeconfig).await?;
                client
                    .apiserver_version()
                    .await
                    .context("GET /version of the Kubernetes API")?;
            }
        }
    }
    Ok(Seen::Yes(()))
}

fn not_ok(dependencies: &Value) -> Vec<String> {
    let entries = dependencies.as_object().into_iter().flatten();
    entries
        .filter(|(_, state)| state["status"] != "ok")
        .map(|(name, _)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn service_is_ready_only_with_all_its_dependencies() {
        assert!(not_ok(&json!({"postgresql": {"status": "ok"}, "redis": {"status": "ok"}})).is_empty());
        assert_eq!(
            not_ok(&json!({"postgresql": {"status": "down"}, "redis": {"status": "ok"}})),
            ["postgresql"]
        );
        assert_eq!(not_ok(&json!({"redis": {}})), ["redis"]);
    }
}
