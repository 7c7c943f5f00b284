//! `cargo xtask down [RUN]`: removes what a kept run left standing.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use subprocess::Cancel;

use crate::{
    command::Command,
    e2e,
    logs::find,
    run_folder::{Provider, RunFolder},
};

/// Deleting a cluster stops every container in it.
const LONGEST: Duration = Duration::from_secs(180);

/// Remove what a kept run left standing; its reports stay
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The run, or `last`
    #[arg(default_value = "last")]
    run: String,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { run } = options;
    let mut folder = find(&run)?;
    folder.take_over()?;
    e2e::stop_processes(&folder)?;
    if let (Provider::Kind, Some(cluster)) = (folder.owner().provider, folder.owner().cluster.clone()) {
        for command in e2e::remove_cluster(&cluster) {
            eprintln!("{command}");
            let command = subprocess::Command::new(command.filled(str::to_owned));
            command
                .deadline(LONGEST)
                .log(folder.log("down"))
                .run(&Cancel::never())?;
        }
    }
    if folder.owner().provider == Provider::Cluster {
        remove_from_cluster(&folder)?;
    }
    folder.finish()?;
    eprintln!(
        "run {} is down; its reports stay in {}",
        folder.run(),
        folder.path().display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Removes what a run made in a cluster that others use too.
pub(crate) fn remove_from_cluster(folder: &RunFolder) -> anyhow::Result<()> {
    let owner = folder.owner();
    if !folder.kubeconfig().exists() {
        // It never came as far as to enter the cluster.
        return Ok(());
    }
    let removal = e2e::remove_namespace(&owner.stack, &owner.run, folder.path());
    let named = |command: &Command| {
        eprintln!("{command}");
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
