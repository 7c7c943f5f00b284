//! `cargo xtask down [RUN]`: removes what a kept run left standing.

use std::process::ExitCode;

use clap::Args;
use subprocess::Cancel;

use crate::{
    removal::{LONGEST, remove_cluster, remove_from_cluster, stop_processes},
    run_folder::{ProviderName, find},
};
use subprocess::eprint_line;

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
    stop_processes(&folder)?;
    if let (ProviderName::Kind, Some(cluster)) = (folder.owner().provider, folder.owner().cluster.clone()) {
        for command in remove_cluster(&cluster) {
            eprint_line(format!("{command}"));
            let command = subprocess::Command::new(command.filled(str::to_owned));
            command
                .deadline(LONGEST)
                .log(folder.log("down"))
                .run(&Cancel::never())?;
        }
    }
    if folder.owner().provider == ProviderName::Cluster {
        remove_from_cluster(&folder)?;
    }
    folder.finish()?;
    eprint_line(format!(
        "run {} is down; its reports stay in {}",
        folder.run(),
        folder.path().display()
    ));
    Ok(ExitCode::SUCCESS)
}
