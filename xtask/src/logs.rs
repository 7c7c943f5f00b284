//! `cargo xtask logs [RUN] [TASK]`: prints the log of a task, or lists what there is.

use std::{
    fs::{self, File},
    io,
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;

use crate::run_folder::find;
use subprocess::eprint_line;

/// Print the log of a task of a run, or list the logs that there are
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The run, or `last`
    #[arg(default_value = "last")]
    run: String,
    /// The task [default: list them]
    task: Option<String>,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { run, task } = options;
    let folder = find(&run)?;
    let Some(task) = task else {
        let entries = fs::read_dir(folder.path().join("logs"))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        eprint_line(format!("logs of run {}: {}", folder.run(), names.join(", ")));
        return Ok(ExitCode::SUCCESS);
    };
    let path = folder.log(&task);
    let mut file = File::open(&path).with_context(|| format!("{task} of run {} has no log", folder.run()))?;
    io::copy(&mut file, &mut io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}
