//! `cargo xtask bench datastorage`: DataStorage beside what PostgreSQL itself does on the same machine, in one run:
//! pgbench inserting and querying the same rows in the same tables, and COPY; then faults, counting what was
//! acknowledged against what is stored.
//!
//! pgbench speaks PostgreSQL's protocol and computes nothing; the service parses, checks and answers HTTP, keeps the
//! chain and the table of ids, and shares the machine with the program that loads it.

mod outages;
mod page;
mod plot;
mod queries;
mod record;
mod sql;
mod subject;
mod writes;

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use record::Record;

use subprocess::eprint_line;

/// Measure DataStorage beside pgbench and COPY
///
/// Each part has a PostgreSQL and a Redis of its own and can be measured by itself; its figures replace those of its
/// last run, and `--write` writes all that are there.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// A look in about a minute: short, few, and small tables
    #[arg(long)]
    quick: bool,

    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    part: Vec<Part>,

    /// How long each figure is measured
    #[arg(long, default_value_t = 8)]
    seconds: u64,

    /// How often each pair is measured, one after the other; the medians count
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Sizes of the table at which queries are measured, the smallest first
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000, 10_000_000])]
    rows: Vec<u64>,

    /// Wait for a line on stdin when a table is filled, so that the machine can be made quiet for what is measured
    #[arg(long)]
    pause: bool,

    /// Measure nothing: print what the parts measured last, and with --write write it
    #[arg(long, conflicts_with_all = ["quick", "part"])]
    recorded: bool,

    /// Renew this bench's part of docs/benchmarks.md, and its plots
    #[arg(long)]
    write: bool,

    /// What stdout gets
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Markdown
    Text,
    /// One object
    Json,
}

/// What can be measured by itself.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Start, memory, single writes by number of connections, a steady rate
    Writes,
    /// Batches of 100, and COPY
    Batches,
    /// The first page of a correlation by size of the table
    Queries,
    /// Faults under load: acknowledged against stored
    Outages,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let options = if options.quick { quick(options) } else { options };
    let mut record = if options.quick {
        Record::default()
    } else {
        Record::load()?
    };
    let parts = if options.part.is_empty() {
        Part::value_variants().to_vec()
    } else {
        options.part.clone()
    };
    if !options.recorded {
        measure(&parts, &options, &mut record)?;
    }
    let text = match options.format {
        Format::Text => page::markdown(&record),
        Format::Json => format!("{}\n", record.document()),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    if options.write {
        page::write(&record)?;
    }
    let missed = parts
        .iter()
        .filter_map(|part| record.parts.get(part))
        .any(|part| part.figures.iter().any(|figure| figure.holds() == Some(false)));
    Ok(if missed {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

fn measure(parts: &[Part], options: &Options, record: &mut Record) -> anyhow::Result<()> {
    let programs = subject::Programs::build()?;
    for part in parts {
        let measured = match part {
            Part::Writes => writes::single(&programs, options)?,
            Part::Batches => writes::batches(&programs, options)?,
            Part::Queries => queries::measure(&programs, options)?,
            Part::Outages => outages::measure(&programs, options)?,
        };
        record.parts.insert(*part, measured);
        if !options.quick {
            record.save()?;
        }
    }
    Ok(())
}

fn quick(options: Options) -> Options {
    Options {
        seconds: 2,
        rounds: 1,
        rows: vec![20_000, 100_000],
        write: false,
        ..options
    }
}

/// Waits until whoever watches says that the machine is quiet.
fn pause(options: &Options) -> anyhow::Result<()> {
    if options.pause {
        eprint_line("ready to measure: press Enter");
        std::io::stdin().lock().read_line(&mut String::new())?;
    }
    Ok(())
}
