//! Workloads of a run: names, Kubernetes objects, and the time to stop.

use std::{fs, time::Duration};

use anyhow::Context;

use crate::{
    run_folder::RunFolder,
    yaml::{Object, objects},
};

/// Name of the cluster's API server, beside the names of the stack file.
pub(crate) const KUBERNETES: &str = "kubernetes";

/// Time to stop before SIGKILL: services drain for at most 30 s.
pub(crate) const GRACE: Duration = Duration::from_secs(35);

/// Returns the name of the record and log of the process that forwards a workload's ports.
pub(crate) fn record_name(workload: &str) -> String {
    format!("forward-{workload}")
}

/// Returns the Deployment or StatefulSet of a deployed component or service.
pub(crate) fn workload_of(folder: &RunFolder, name: &str) -> anyhow::Result<Object> {
    let manifest = folder.path().join("manifests").join(format!("{name}.yaml"));
    let text = fs::read_to_string(&manifest).with_context(|| {
        format!(
            "run {} has no component or service {name}: cannot read {}",
            folder.run(),
            manifest.display()
        )
    })?;
    let mut objects = objects(&manifest.display().to_string(), &text)?.into_iter();
    let workload = objects.find(|object| ["Deployment", "StatefulSet"].contains(&object.kind()));
    workload.with_context(|| format!("no Deployment or StatefulSet in {}", manifest.display()))
}
