//! What takes a run down: its processes, its cluster, and what it made in a cluster that others use too.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, anyhow};
use subprocess::{Cancel, Record};

use crate::{
    command::{Command, Test},
    labels,
    parts::GRACE,
    run_folder::{RunFolder, node_of},
};
use subprocess::eprint_line;

/// Deleting a cluster stops every container in it.
pub(crate) const LONGEST: Duration = Duration::from_secs(180);

/// Stops every recorded process of the run, the services side by side and then what they need, and removes the
/// embedded servers' data.
pub(crate) fn stop_processes(folder: &RunFolder) -> anyhow::Result<()> {
    let mut failures = Vec::new();
    let mut records = Vec::new();
    for entry in fs::read_dir(folder.processes()).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            match Record::read(&path) {
                Ok(record) => records.push((record, path)),
                Err(error) => failures.push(error.to_string()),
            }
        }
    }
    // A server that services need ends its own workers in order, and says so by the signal that it wants.
    let (needed, services): (Vec<_>, Vec<_>) = records
        .into_iter()
        .partition(|(record, _)| record.stop_signal.is_some());
    for group in [services, needed] {
        std::thread::scope(|scope| {
            let stops: Vec<_> = group
                .iter()
                .map(|(record, path)| scope.spawn(|| stop(record, path)))
                .collect();
            for stop in stops {
                let stopped = stop
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("stopping it panicked")));
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
    fs::remove_file(path).with_context(|| format!("can't remove {}", path.display()))
}

/// What removes the volume of a node that is gone. Kind makes it with a label of the node's name; to podman it is not
/// anonymous, and so does not go with the container.
fn remove_volume(node: &str) -> Command {
    Command::new("podman").args(["volume", "prune", "--force", "--filter", &format!("label={node}")])
}

/// What removes a run's cluster, its volume and its network, if they are there.
pub(crate) fn remove_cluster(cluster: &str) -> [Command; 3] {
    // What `kind delete cluster` does, without the ten seconds that podman gives a node to shut down in order:
    // nothing in it is needed any more.
    let delete = Command::new("podman")
        .args(["rm", "--force", "--ignore", "--time", "0", "--volumes"])
        .args([node_of(cluster)]);
    [
        delete,
        remove_volume(&node_of(cluster)),
        Command::new("podman").args(["network", "rm", "--force", cluster]),
    ]
}

/// What removes a run from a cluster.
pub(crate) struct Removal {
    /// The namespace, and what bears its name outside of it.
    pub(crate) always: Vec<Command>,
    /// The definitions of kinds that runs made, unless another run is there, which may use them.
    pub(crate) crds: (Test, Command),
}

/// What removes a run from the cluster that its kubeconfig leads to: only what it made.
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

/// The file with the run's objects outside of its namespace.
pub(crate) const CLUSTER_SCOPED: &str = "cluster-scoped.json";

/// Removes what a run made in a cluster that others use too.
pub(crate) fn remove_from_cluster(folder: &RunFolder) -> anyhow::Result<()> {
    let owner = folder.owner();
    if !folder.kubeconfig().exists() {
        // It never came as far as to enter the cluster.
        return Ok(());
    }
    let removal = remove_namespace(&owner.stack, &owner.run, folder.path());
    let named = |command: &Command| {
        eprint_line(format!("{command}"));
        let command = subprocess::Command::new(command.filled(str::to_owned));
        command.deadline(LONGEST).log(folder.log("down"))
    };
    for command in &removal.always {
        named(command).run(&Cancel::never())?;
    }
    let (others, crds) = &removal.crds;
    let output = named(&others.command).capture(&Cancel::never())?;
    let used = others
        .expect
        .as_ref()
        .is_some_and(|text| output.text().contains(text));
    if !used {
        named(crds).run(&Cancel::never())?;
    }
    Ok(())
}
