//! `cargo xtask bench e2e`: measures the three orders of the same run alternately, the warm loop, and the overhead of
//! the runner. Replays the measured runs for machines with more cores.
//!
//! The cluster is cold and the compile cache warm each time: only the order differs. Each run is an ordinary
//! `cargo xtask e2e`; the figures come from its report.json. It executes one quick scenario, which proves that the stack
//! is up and adds little time to either side of the ratios.

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

/// Orders, the reference last.
const ORDERS: [&str; 3] = ["graph", "phased", "sequential"];

/// Measure a run in its three orders, the warm loop, and the runner's overhead
///
/// Each part can be measured separately: --resume keeps the earlier measurements, and --write writes all of them.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Runs of each part
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Provider of the stack
    #[arg(long, value_enum, default_value = "local")]
    provider: ProviderName,
    /// Parts to measure [default: all but build]
    #[arg(long, value_enum, value_delimiter = ',')]
    part: Vec<Part>,
    /// Make one run of each
    #[arg(long)]
    quick: bool,
    /// Keep the earlier measurements and make only the missing runs
    #[arg(long)]
    resume: bool,
    /// Replace the section of this bench in docs/benchmarks.md, and its plot
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// A part that can be measured separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Orders graph, phased and sequential alternately, with a cold cluster
    Orders,
    /// Repeated runs on a kept stack with one service edited
    Warm,
    /// Start of a verb, and time to the first scenario
    Runner,
    /// Build of the runner in an empty target folder (about a minute)
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
    // An uncounted run, so that compile cache and images are warm for all.
    if record.runs(ORDERS[0]).is_empty() {
        eprint_line("warming the compile cache");
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
