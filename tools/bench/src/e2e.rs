//! `cargo xtask bench e2e`: the three orders of the same run, one after the other in turn, several times; the warm
//! loop; what the runner itself costs. The measured runs are replayed for machines with more cores.
//!
//! The cluster is cold each time, the compile cache warm: what differs is the order alone. Each run is a run of
//! `cargo xtask e2e` as anyone calls it; the figures are read from its report.json. One quick scenario runs at the
//! end, so that "up" is proved and the scenarios' own time does not thin the ratio.

mod page;
mod plot;
mod provider;
mod record;
mod replay;
mod run;
mod runner;
#[cfg(test)]
mod tests;
mod warm;

use std::{io::Write as _, process::ExitCode};

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::json;

use self::{provider::ProviderName, record::Record};
use crate::{
    figures::{self, Format},
    page::Section,
    workspace,
};
use subprocess::eprint_line;

/// The order that the others are compared with comes last.
const ORDERS: [&str; 3] = ["graph", "phased", "sequential"];

/// Measure a run in its three orders, the warm loop, and the runner itself
///
/// Each part can be measured by itself: with --resume, what was measured before stays and counts, so that one
/// measurement can be made in pieces, and --write writes all that is there.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Where the stack runs
    #[arg(long, value_enum, default_value = "local")]
    provider: ProviderName,
    /// Only these parts [default: all but build]
    #[arg(long, value_enum, value_delimiter = ',')]
    part: Vec<Part>,
    /// A look: one run of each
    #[arg(long)]
    quick: bool,
    /// Go on with what was measured before: only runs that are missing are made
    #[arg(long)]
    resume: bool,
    /// Renew this bench's part of docs/benchmarks.md, and its plot
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// What stdout gets
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Graph, phased and sequential in turn, the cluster cold
    Orders,
    /// One service edited, and the same run again on what was kept
    Warm,
    /// What the runner costs: how fast a verb starts, how soon the first scenario begins
    Runner,
    /// A build of the runner in an empty target folder: it takes a minute
    Build,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {
        runs,
        provider,
        part,
        quick,
        resume,
        write,
        format,
    } = options;
    let rounds = if quick { 1 } else { runs };
    if rounds == 0 {
        bail!("--runs must be at least 1");
    }
    let parts = match part.as_slice() {
        [] => vec![Part::Orders, Part::Warm, Part::Runner],
        parts => parts.to_vec(),
    };
    let folder = workspace::target().join(format!("bench/e2e/{provider}"));
    let mut record = Record::open(&folder, resume)?;
    for part in parts {
        match part {
            Part::Orders => orders(provider, rounds, &mut record)?,
            Part::Warm => warm::measure(provider, rounds, &mut record)?,
            Part::Runner => runner::measure(provider, rounds, &mut record)?,
            Part::Build => runner::build(&mut record)?,
        }
    }
    let replays = replay::all(&record)?;
    let figures = page::figures(provider, &record, &replays);
    let text = page::markdown(provider, &record, &replays, &figures);
    let printed = match format {
        Format::Text => text.clone(),
        Format::Json => format!("{}\n", figures::document("e2e", &machine(&record), &figures)),
    };
    std::io::stdout().lock().write_all(printed.as_bytes())?;
    if write {
        let picture = plot::write(provider, &record, &replays)?;
        let heading = format!("The runner, on {provider}");
        let section = Section {
            bench: &format!("e2e {provider}"),
            heading: &heading,
            text: &format!("{text}{picture}"),
        };
        section.write()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn orders(provider: ProviderName, rounds: usize, record: &mut Record) -> anyhow::Result<()> {
    // Once before, uncounted: afterwards the compile cache and the images are warm for all alike.
    if record.runs(ORDERS[0]).is_empty() {
        eprint_line("a run before, to warm the compile cache");
        run::cold(provider, ORDERS[0])?;
    }
    for round in 1..=rounds {
        for order in ORDERS {
            if record.runs(order).len() < round {
                eprint_line(format!("round {round} of {rounds}: {order}"));
                let run = run::cold(provider, order)?;
                record.add_run(order, run)?;
            }
        }
    }
    Ok(())
}

fn machine(record: &Record) -> serde_json::Value {
    let machine = record.machine();
    json!({
        "system": machine.map(|machine| &machine.system), "cpus": machine.map(|machine| machine.cpus),
        "memory_bytes": machine.map(|machine| machine.memory_bytes),
    })
}
