//! `cargo xtask down [RUN]`: removes the stack of a kept run.

use std::process::ExitCode;

use clap::Args;
use subprocess::Cancel;

use crate::{
    removal::{REMOVAL_LIMIT, remove_cluster, remove_from_cluster, stop_processes},
    run_folder::{ProviderName, State, find},
};
use subprocess::eprint_line;

/// Remove the stack of a kept run; its reports stay
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Run id, or `last`
    #[arg(default_value = "last")]
    run: String,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { run } = options;
    let mut folder = find(&run)?;
    folder.take_over()?;
    // From here on it is garbage, even if this process dies.
    folder.set_state(State::Running)?;
    stop_processes(&folder)?;
    if let (ProviderName::Kind, Some(cluster)) = (folder.owner().provider, folder.owner().cluster.clone()) {
        for command in remove_cluster(&cluster) {
            eprint_line(format!("{command}"));
            let command = subprocess::Command::new(command.filled(str::to_owned));
            command
                .deadline(REMOVAL_LIMIT)
                .log(folder.log("down"))
                .run(&Cancel::never())?;
        }
    }
    if folder.owner().provider == ProviderName::Cluster {
        remove_from_cluster(&folder)?;
    }
    folder.finish()?;
    eprint_line(format!(
        "removed the stack of run {}; its reports are in {}",
        folder.run(),
        folder.path().display()
    ));
    Ok(ExitCode::SUCCESS)
}
