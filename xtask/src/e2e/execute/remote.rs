//! What a run in a cluster that is there already needs on this machine.

use std::time::Duration;

use anyhow::ensure;
use subprocess::Cancel;

use super::Did;
use crate::e2e::settings::Remote;

/// Looks for the programs, and for the context, before anything is compiled for it.
pub(super) fn preflight(remote: &Remote) -> anyhow::Result<Did> {
    let Remote { context, registry } = remote;
    let missing: Vec<&str> = ["kubectl", "podman"]
        .into_iter()
        .filter(|program| which::which(program).is_err())
        .collect();
    ensure!(
        missing.is_empty(),
        "the provider cluster needs {} in PATH: kubectl speaks to the cluster, podman builds the images and pushes \
         them to {registry}",
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
        "your kubeconfig has no context {context:?}; it has: {}",
        if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        }
    );
    Ok(Did::Something)
}
