//! `cargo xtask forward --run DIR NAME`: brings the ports of a part of a run in a cluster to this machine, until told
//! to end. The runner starts it; people read its log.
//!
//! `kubectl port-forward` holds on to one pod and ends with it: then it is started again, on the pod that took its place.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use serde_json::Value;
use subprocess::{Cancel, Command};

use crate::{
    parts::workload_of,
    ports::{Kept, Ports},
    run_folder::{self, RunFolder},
};
use subprocess::eprint_line;

/// Between two attempts: as long as a pod takes to be replaced there is none to hold on to.
const BETWEEN: Duration = Duration::from_millis(200);

/// Bring the ports of a part of a run in a cluster to this machine
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The run's folder
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// A component or service of the stack file
    name: String,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { run, name } = options;
    let folder = RunFolder::open(&run, &run_folder::index())?;
    let workload = workload_of(&folder, &name)?;
    let ports: Ports = serde_json::from_slice(&fs::read(folder.path().join("ports.json"))?)
        .map(|kept: Kept| kept.ports)
        .context("the run's ports can't be read")?;
    let pairs: Vec<String> = ports
        .get(&name)
        .into_iter()
        .flat_map(|ports| ports.values())
        .map(|port| format!("{}:{}", port.host, port.container))
        .collect();
    let namespace = workload.0.pointer("/metadata/namespace").and_then(Value::as_str);
    let cancel = Cancel::new();
    let told = cancel.clone();
    ctrlc::set_handler(move || told.cancel()).context("can't watch for signals")?;
    while !cancel.is_cancelled() {
        let mut kubectl = std::process::Command::new("kubectl");
        kubectl.arg("--kubeconfig").arg(folder.kubeconfig());
        kubectl.args([
            "--namespace",
            namespace.unwrap_or("default"),
            "port-forward",
            "--address=127.0.0.1",
        ]);
        kubectl.arg(workload.reference()).args(&pairs);
        // It ends whenever its pod does; what it says of that is for the log.
        if let Err(failure) = Command::new(kubectl).name(format!("forward {name}")).run(&cancel) {
            eprint_line(format!("{failure}"));
        }
        std::thread::park_timeout(BETWEEN);
    }
    Ok(ExitCode::SUCCESS)
}
