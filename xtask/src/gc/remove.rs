//! Removal of garbage.

use std::path::Path;
use std::process;
use std::time::Duration;

use anyhow::{anyhow, bail};
use subprocess::{Cancel, Command, Process};

use super::find::{Found, Garbage};
use super::machine::Machine;
use crate::{
    removal,
    run_folder::{self, ProviderName, State},
};

/// Maximum time of a podman command, such as stopping a node with all its containers.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

pub(super) fn remove(machine: &Machine, found: &Found) -> anyhow::Result<()> {
    match &found.garbage {
        Garbage::Orphan(orphan) => end(&orphan.process),
        Garbage::Instance(instance) => instance.clone().remove(),
        Garbage::Processes(folder) => end_processes(folder),
        Garbage::Cluster(name) => {
            // Like `kind delete cluster`, but without kind.
            let nodes = machine
                .containers
                .iter()
                .filter(|container| container.cluster.as_ref() == Some(name));
            let nodes: Vec<&str> = nodes.map(|container| container.name.as_str()).collect();
            podman(&[&["rm", "--force", "--volumes"], &nodes[..]].concat())?;
            for node in nodes {
                let label = format!("label={node}");
                podman(&["volume", "prune", "--force", "--filter", &label])?;
            }
            Ok(())
        }
        Garbage::Container(name) => {
            podman(&["rm", "--force", "--volumes", name])?;
            podman(&["volume", "prune", "--force", "--filter", &format!("label={name}")])
        }
        Garbage::Network(name) => podman(&["network", "rm", "--force", name]),
        Garbage::Image(name) => podman(&["rmi", "--force", name]),
        Garbage::Folder(run) => {
            // The kubeconfig is in the folder, so remove the folder last.
            if run.owner().provider == ProviderName::Cluster && run.owner().state != State::Finished {
                removal::remove_from_cluster(run)?;
            }
            run.clone().remove()
        }
        Garbage::Entry(run) => run_folder::forget(&machine.index_folder, run),
    }
}

fn podman(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = process::Command::new("podman");
    command.args(arguments);
    Command::new(command)
        .deadline(COMMAND_LIMIT)
        .run(&Cancel::never())?;
    Ok(())
}

fn end(process: &Process) -> anyhow::Result<()> {
    process.kill_group();
    if process.wait_for_exit(Duration::from_secs(10)) {
        return Ok(());
    }
    bail!("process {} still runs 10 s after SIGKILL", process.pid)
}

/// Ends the processes of a run: those in its records, and those with its process tag.
fn end_processes(folder: &Path) -> anyhow::Result<()> {
    let mut failures = Vec::new();
    for (_, record) in run_folder::records_of(folder) {
        failures.extend(record.and_then(|record| record.kill()).err());
    }
    for process in Process::tagged(folder) {
        end(&process)?;
    }
    match failures.into_iter().next() {
        Some(failure) => Err(anyhow!(failure)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use subprocess::Record;

    use super::*;
    use crate::gc::find::judge;
    use crate::run_folder::{ProviderName, RunFolder};

    #[test]
    fn removes_processes_and_folder_of_abandoned_run_only() {
        let root = tempfile::tempdir().unwrap();
        let (runs, index) = (root.path().join("e2e"), root.path().join("index"));
        let create = || {
            let run = RunFolder::create(&runs, &index, ProviderName::Local, "shop").unwrap();
            let mut sleep = process::Command::new("sleep");
            sleep.arg("1000");
            Command::new(sleep)
                .record(run.process("recorded"))
                .spawn()
                .unwrap()
                .detach();
            let mut sleep = process::Command::new("sleep");
            sleep.arg("1001");
            Command::new(sleep)
                .record(run.process("lost"))
                .spawn()
                .unwrap()
                .detach();
            let lost = Record::read(&run.process("lost")).unwrap();
            fs::remove_file(run.process("lost")).unwrap();
            let recorded = Record::read(&run.process("recorded")).unwrap();
            (run, recorded, lost)
        };
        let (live, live_one, live_other) = create();
        let (dead, dead_one, dead_other) = create();
        let owner = dead.path().join("owner.json");
        let text = fs::read_to_string(&owner).unwrap();
        let own = Process::current().unwrap().start_time;
        assert!(text.contains(&own));
        fs::write(&owner, text.replace(&own, "an earlier boot:1")).unwrap();

        let machine = Machine {
            runs: RunFolder::list(&runs, &index),
            index: run_folder::indexed(&index),
            index_folder: index.clone(),
            ..Machine::default()
        };
        for found in &judge(&machine, false).0 {
            remove(&machine, found).unwrap();
        }
        assert!(!dead_one.is_alive() && !dead_other.is_alive() && !dead.path().exists());
        assert!(live_one.is_alive() && live_other.is_alive() && live.path().exists());
        assert_eq!(
            run_folder::indexed(&index).into_keys().collect::<Vec<_>>(),
            [live.run()]
        );
        live_one.kill().unwrap();
        live_other.kill().unwrap();
    }
}
