//! The parts of a run: how they are called, what runs them, and how long one is given to end.

use std::{fs, time::Duration};

use anyhow::Context;

use crate::{
    run_folder::RunFolder,
    yaml::{Object, objects},
};

/// The cluster's API itself, beside the names of the stack file.
pub(crate) const KUBERNETES: &str = "kubernetes";

/// The services end within 30 s by themselves.
pub(crate) const GRACE: Duration = Duration::from_secs(35);

/// The name of the record, and of the log, of what brings a part's ports here.
pub(crate) fn record_name(part: &str) -> String {
    format!("forward-{part}")
}

/// What runs the pods of a part that a run has deployed.
pub(crate) fn workload_of(folder: &RunFolder, name: &str) -> anyhow::Result<Object> {
    let manifest = folder.path().join("manifests").join(format!("{name}.yaml"));
    let text = fs::read_to_string(&manifest).with_context(|| {
        format!(
            "run {} has not deployed {name}: {} is missing",
            folder.run(),
            manifest.display()
        )
    })?;
    let mut objects = objects(&manifest.display().to_string(), &text)?.into_iter();
    let workload = objects.find(|object| ["Deployment", "StatefulSet"].contains(&object.kind()));
    workload.with_context(|| format!("{name} has no Deployment or StatefulSet"))
}
