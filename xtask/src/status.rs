//! `cargo xtask status`: lists the runs of this checkout.

use std::{io::Write as _, process::ExitCode};

use clap::Args;
use subprocess::Record;

use crate::run_folder::{self, RunFolder, State};

/// List the runs of this checkout with their states, and the addresses of running stacks
#[derive(Args, Debug)]
pub(crate) struct Options {}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {} = options;
    let program = crate::called_as();
    let mut out = std::io::stdout().lock();
    for folder in RunFolder::list(&run_folder::runs(), &run_folder::index()) {
        let owner = folder.owner();
        let state = match owner.state {
            State::Running if owner.is_abandoned() => format!("abandoned (remove: {program} gc)"),
            State::Running => "running".to_owned(),
            State::Kept if owner.process.is_alive() => "kept, in use by another run".to_owned(),
            State::Kept => format!("kept (remove: {program} down {})", folder.run()),
            State::Finished => "finished".to_owned(),
        };
        writeln!(
            out,
            "{}  {:7} {state}  {}",
            folder.run(),
            owner.provider.to_string(),
            folder.path().display()
        )?;
        if owner.state == State::Kept {
            addresses(&mut out, &folder)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn addresses(out: &mut impl std::io::Write, folder: &RunFolder) -> anyhow::Result<()> {
    let Ok(text) = std::fs::read(folder.stack_file()) else {
        return Ok(());
    };
    let stack: serde_json::Value = serde_json::from_slice(&text)?;
    for (name, urls) in stack["services"].as_object().into_iter().flatten() {
        let alive = match Record::read(&folder.process(name)) {
            Ok(record) if !record.is_alive() => " (stopped)",
            _ => "",
        };
        for (port, url) in urls.as_object().into_iter().flatten() {
            writeln!(
                out,
                "  {name} {port}: {}{alive}",
                url.as_str().unwrap_or_default()
            )?;
        }
    }
    writeln!(out, "  KUBECONFIG={}", folder.kubeconfig().display())?;
    Ok(())
}
