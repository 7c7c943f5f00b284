//! Removal of a run: its processes, its cluster, and its objects in a shared cluster.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, anyhow};
use subprocess::{Cancel, Record};

use crate::{
    command::{Command, Test},
    labels,
    run_folder::{RunFolder, node_of, records_of},
    workload::GRACE,
};
use subprocess::eprint_line;

/// Maximum time of one removing command; deleting a cluster stops every container in it.
pub(crate) const REMOVAL_LIMIT: Duration = Duration::from_secs(180);

/// Stops every recorded process of the run, first the services in parallel, then the servers that they need, and removes
/// the embedded servers' data.
pub(crate) fn stop_processes(folder: &RunFolder) -> anyhow::Result<()> {
    let mut failures = Vec::new();
    let mut records = Vec::new();
    for (path, record) in records_of(folder.path()) {
        match record {
            Ok(record) => records.push((record, path)),
            Err(error) => failures.push(error.to_string()),
        }
    }
    // Only embedded servers have a stop signal of their own (PostgreSQL stops its workers in order on it).
    let (servers, services): (Vec<_>, Vec<_>) = records
        .into_iter()
        .partition(|(record, _)| record.stop_signal.is_some());
    for group in [services, servers] {
        std::thread::scope(|scope| {
            let stops: Vec<_> = group
                .iter()
                .map(|(record, path)| scope.spawn(|| stop(record, path)))
                .collect();
            for stop in stops {
                let stopped = stop
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("panic while stopping a process")));
                failures.extend(stopped.err().map(|error| format!("{error:#}")));
            }
        });
    }
    let ours = |instance: &embedded::Instance| instance.belongs_to.as_deref() == Some(folder.path());
    for instance in embedded::instances().into_iter().filter(ours) {
        failures.extend(instance.remove().err().map(|error| format!("{error:#}")));
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(anyhow!(failures.join("\n")))
    }
}

fn stop(record: &Record, path: &Path) -> anyhow::Result<()> {
    record.stop(GRACE)?;
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Returns the command that removes the volume of a removed node. Kind labels it with the node's name; podman does not
/// consider it anonymous, so it does not remove it with the container.
fn remove_volume(node: &str) -> Command {
    Command::new("podman").args(["volume", "prune", "--force", "--filter", &format!("label={node}")])
}

/// Returns the commands that remove a run's cluster, its volume and its network, if they exist.
pub(crate) fn remove_cluster(cluster: &str) -> [Command; 3] {
    // Like `kind delete cluster`, but without ten seconds for an orderly shutdown, which a deleted node does not need.
    let delete = Command::new("podman")
        .args(["rm", "--force", "--ignore", "--time", "0", "--volumes"])
        .args([node_of(cluster)]);
    [
        delete,
        remove_volume(&node_of(cluster)),
        Command::new("podman").args(["network", "rm", "--force", cluster]),
    ]
}

/// Commands that remove a run from a shared cluster.
pub(crate) struct Removal {
    /// Remove the namespace, and the run's objects outside of it.
    pub(crate) always: Vec<Command>,
    /// Condition that other runs exist, which may use the runs' custom resource definitions; and their removal otherwise.
    pub(crate) crds: (Test, Command),
}

/// Returns the commands that remove a run's own objects from the cluster of its kubeconfig.
pub(crate) fn remove_namespace(stack: &str, run: &str, folder: &Path) -> Removal {
    let kubectl = || {
        Command::new("kubectl")
            .args(["--kubeconfig"])
            .path(&folder.join("kubeconfig"))
    };
    let delete = || kubectl().args(["delete", "--ignore-not-found", "--timeout=100s"]);
    let others = kubectl().args(["get", "namespaces", "--output=name", &labels::others(stack, run)]);
    Removal {
        always: vec![
            delete().args(["namespaces", &labels::made_by(stack, run)]),
            delete()
                .args(["--filename"])
                .path(&folder.join("manifests").join(CLUSTER_SCOPED)),
        ],
        crds: (
            others.prints("namespace/"),
            delete().args(["customresourcedefinitions", &labels::made_by_any(stack)]),
        ),
    }
}

/// File with the run's objects outside of its namespace.
pub(crate) const CLUSTER_SCOPED: &str = "cluster-scoped.json";

/// Removes a run's objects from a shared cluster.
pub(crate) fn remove_from_cluster(folder: &RunFolder) -> anyhow::Result<()> {
    let owner = folder.owner();
    if !folder.kubeconfig().exists() {
        // The run ended before it created anything in the cluster.
        return Ok(());
    }
    let removal = remove_namespace(&owner.stack, &owner.run, folder.path());
    let named = |command: &Command| {
        eprint_line(format!("{command}"));
        let command = subprocess::Command::new(command.filled(str::to_owned));
        command.deadline(REMOVAL_LIMIT).log(folder.log("down"))
    };
    for command in &removal.always {
        named(command).run(&Cancel::never())?;
    }
    let (others, crds) = &removal.crds;
    let output = named(&others.command).capture(&Cancel::never())?;
    let has_others = others
        .expect
        .as_ref()
        .is_some_and(|text| output.text().contains(text));
    if !has_others {
        named(crds).run(&Cancel::never())?;
    }
    Ok(())
}
