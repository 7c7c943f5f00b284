//! `cargo xtask gc`: removes leftovers of runs and tests whose owner is dead.

mod find;
mod machine;
mod remove;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

use subprocess::eprint_line;

use crate::run_folder;

pub(crate) use self::find::{Found, Skipped, judge};
pub(crate) use self::machine::Machine;

/// Remove clusters, networks, containers, processes and folders of runs whose owner is dead
///
/// Never touch a live run of any user, and kept ones only with --kept. Keep the newest reports of finished runs.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only print what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Also remove kept runs (`e2e --keep`)
    #[arg(long)]
    kept: bool,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { dry_run, kept } = options;
    let machine = Machine::look()?;
    let (found, skipped) = judge(&machine, kept);
    for Skipped { what, why } in &skipped {
        eprint_line(format!("skipped: {what}: {why}"));
    }
    if found.is_empty() {
        eprint_line("nothing to remove");
    }
    let mut out = std::io::stdout().lock();
    if dry_run {
        for found in &found {
            writeln!(out, "would remove {found}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let failures = collect(kept, |removed| {
        // A closed pipe must not stop the removal.
        let _closed = writeln!(out, "removed {removed}");
    })?;
    for failure in &failures {
        eprint_line(format!("not removed: {failure}"));
    }
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    })
}

/// Removes all garbage and calls `on_removed` for each item; returns the errors. `kept` includes kept runs.
pub(crate) fn collect(kept: bool, mut on_removed: impl FnMut(&Found)) -> anyhow::Result<Vec<String>> {
    // A process ended in the first round may have been creating a cluster or container.
    const ROUNDS: usize = 3;
    // Two at the same time would find each other's garbage half removed.
    let _lock = embedded::lock(&run_folder::gc_lock()?, "waiting for another collection")?;
    let mut failures = Vec::new();
    for _ in 0..ROUNDS {
        let machine = Machine::look()?;
        let (found, _) = judge(&machine, kept);
        let removed;
        (removed, failures) = remove_all(&machine, &found);
        removed.iter().for_each(|found| on_removed(found));
        if removed.is_empty() {
            break;
        }
    }
    Ok(failures)
}

/// Removes each item; returns the removed ones, and the errors.
fn remove_all<'a>(machine: &Machine, found: &'a [Found]) -> (Vec<&'a Found>, Vec<String>) {
    let (mut removed, mut failures) = (Vec::new(), Vec::new());
    for found in found {
        match remove::remove(machine, found) {
            Ok(()) => removed.push(found),
            Err(error) => failures.push(format!("{found}\n  {error:#}")),
        }
    }
    (removed, failures)
}
