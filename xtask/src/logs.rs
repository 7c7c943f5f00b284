//! `cargo xtask logs [RUN] [TASK]`: prints the log of a task, or lists the logs of a run.

use std::{fs::File, io, process::ExitCode};

use anyhow::Context;
use clap::Args;

use crate::run_folder::{find, names_in};
use subprocess::eprint_line;

/// Print the log of a task, or list the logs of a run
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Run id, or `last`
    #[arg(default_value = "last")]
    run: String,
    /// Task [default: list all]
    task: Option<String>,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { run, task } = options;
    let folder = find(&run)?;
    let Some(task) = task else {
        let names = names_in(&folder.path().join("logs"));
        eprint_line(format!("logs of run {}: {}", folder.run(), names.join(", ")));
        return Ok(ExitCode::SUCCESS);
    };
    let path = folder.log(&task);
    let mut file = File::open(&path)
        .with_context(|| format!("cannot read the log of {task} of run {}", folder.run()))?;
    io::copy(&mut file, &mut io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}
