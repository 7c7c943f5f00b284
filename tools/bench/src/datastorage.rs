//! `cargo xtask bench datastorage`: compares DataStorage with PostgreSQL itself on the same machine, in one run: pgbench
//! inserts and queries the same rows in the same tables, and COPY loads them. Then injects faults and compares the
//! acknowledged events with the stored ones.
//!
//! pgbench speaks PostgreSQL's protocol and computes nothing; the service parses and validates HTTP requests, maintains
//! the hash chain and the table of ids, and shares the machine with the load program.

mod outages;
mod page;
mod queries;
mod record;
mod sql;
mod subject;
mod writes;

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use subprocess::eprint_line;

use self::record::Record;
use crate::figures::Format;

/// Compare DataStorage with pgbench and COPY
///
/// Each part has its own PostgreSQL and Redis and can be measured separately; its figures replace those of its last
/// run. `--write` writes all recorded figures.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Take about a minute: short rounds, small tables
    #[arg(long)]
    quick: bool,

    /// Parts to measure [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    part: Vec<Part>,

    /// Seconds of each measurement
    #[arg(long, default_value_t = 8)]
    seconds: u64,

    /// Rounds of each pair, measured alternately; medians are reported
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Numbers of rows at which queries are measured, in ascending order
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000, 10_000_000])]
    rows: Vec<u64>,

    /// Wait for a line on stdin after filling a table, so that the machine can be idle for the measurement
    #[arg(long)]
    pause: bool,

    /// Measure nothing: print the recorded figures, and write them with --write
    #[arg(long, conflicts_with_all = ["quick", "part"])]
    recorded: bool,

    /// Replace the section of this bench in docs/benchmarks.md, and its plots
    #[arg(long)]
    write: bool,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// A part that can be measured separately.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Start, memory, single writes by number of connections and at a constant rate
    Writes,
    /// Batches of 100, and COPY
    Batches,
    /// First page of a correlation by number of rows
    Queries,
    /// Faults under load: acknowledged and stored events
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
        .any(|part| part.figures.iter().any(|figure| figure.is_met() == Some(false)));
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

/// Waits until the user confirms that the machine is idle.
fn pause(options: &Options) -> anyhow::Result<()> {
    if options.pause {
        eprint_line("ready to measure: press Enter");
        std::io::stdin().lock().read_line(&mut String::new())?;
    }
    Ok(())
}
