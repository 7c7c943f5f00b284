//! `cargo xtask gc`: removes what runs and tests left whose owner is dead.

mod find;
mod machine;
mod remove;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

use subprocess::eprint_line;

pub(crate) use self::find::{Found, Left, judge};
pub(crate) use self::machine::Machine;

/// Remove clusters, networks, containers, processes and folders of runs whose owner is dead
///
/// A live run is never touched, whoever's it is, and a kept one only with --kept. Of finished runs the newest reports
/// stay.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Also what was left standing on purpose (`e2e --keep`)
    #[arg(long)]
    kept: bool,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { dry_run, kept } = options;
    let machine = Machine::look()?;
    let (found, left) = judge(&machine, kept);
    for Left { what, why } in &left {
        eprint_line(format!("left alone: {what}: {why}"));
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
        // Whoever closed the pipe does not want to know.
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

/// Removes what nobody owns any more, telling each thing; gives what could not be removed, with the reasons. `kept` also
/// gives up what was left standing on purpose.
pub(crate) fn collect(kept: bool, mut tell: impl FnMut(&Found)) -> anyhow::Result<Vec<String>> {
    // A process that was ended in the first round may have been making something: a cluster, a container.
    const ROUNDS: usize = 3;
    let mut failures = Vec::new();
    for _ in 0..ROUNDS {
        let machine = Machine::look()?;
        let (found, _) = judge(&machine, kept);
        let removed;
        (removed, failures) = remove_all(&machine, &found);
        removed.iter().for_each(|found| tell(found));
        if removed.is_empty() {
            break;
        }
    }
    Ok(failures)
}

/// Tries everything; what could not be removed comes with its reason.
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
