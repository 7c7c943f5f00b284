//! `cargo xtask forward --run DIR NAME`: forwards ports of this machine to a component or service in a cluster, until a
//! signal stops it. The runner starts it as a process of the run.
//!
//! `kubectl port-forward` is bound to one pod and ends with it; it is then started again on the replacement.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use serde_json::Value;
use subprocess::{Cancel, Command};

use crate::{
    ports::{Kept, Ports},
    run_folder::{self, RunFolder},
    workload::workload_of,
};
use subprocess::eprint_line;

/// Pause between two attempts: while a pod is being replaced there is none to connect to.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Forward ports of this machine to a component or service in a cluster
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Component or service of the stack file
    name: String,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { run, name } = options;
    let folder = RunFolder::open(&run, &run_folder::index())?;
    let workload = workload_of(&folder, &name)?;
    let ports: Ports = serde_json::from_slice(&fs::read(folder.path().join("ports.json"))?)
        .map(|kept: Kept| kept.ports)
        .context("cannot read the run's ports.json")?;
    let pairs: Vec<String> = ports
        .get(&name)
        .into_iter()
        .flat_map(|ports| ports.values())
        .map(|port| format!("{}:{}", port.host, port.container))
        .collect();
    let namespace = workload.0.pointer("/metadata/namespace").and_then(Value::as_str);
    let cancel = Cancel::new();
    let on_signal = cancel.clone();
    ctrlc::set_handler(move || on_signal.cancel()).context("cannot install the signal handler")?;
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
        // It fails when its pod ends: log the reason, and retry.
        if let Err(failure) = Command::new(kubectl).name(format!("forward {name}")).run(&cancel) {
            eprint_line(format!("{failure}"));
        }
        std::thread::park_timeout(RETRY_INTERVAL);
    }
    Ok(ExitCode::SUCCESS)
}
