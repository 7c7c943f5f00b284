//! Requirements of the provider `cluster`.

use std::time::Duration;

use anyhow::ensure;
use subprocess::Cancel;

use super::StepOutcome;
use crate::e2e::provider::Cluster;

/// Checks programs and context before anything is compiled.
pub(super) fn preflight(Cluster { context, registry }: &Cluster) -> anyhow::Result<StepOutcome> {
    let missing: Vec<&str> = ["kubectl", "podman"]
        .into_iter()
        .filter(|program| which::which(program).is_err())
        .collect();
    ensure!(
        missing.is_empty(),
        "provider cluster: {} not found in PATH; kubectl connects to the cluster, podman builds the images and \
         pushes them to {registry}",
        missing.join(" and ")
    );
    let mut list = std::process::Command::new("kubectl");
    list.args(["config", "get-contexts", "--output=name"]);
    let listed = subprocess::Command::new(list)
        .name("list the contexts")
        .deadline(Duration::from_secs(20))
        .capture(&Cancel::never())?
        .text();
    let known: Vec<&str> = listed.lines().collect();
    ensure!(
        known.contains(&context.as_str()),
        "unknown context {context:?} in the kubeconfig; known contexts: {}",
        if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        }
    );
    Ok(StepOutcome::Done)
}
