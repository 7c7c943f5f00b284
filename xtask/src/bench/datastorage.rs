//! `cargo xtask bench datastorage`: DataStorage beside what PostgreSQL itself does on the same machine, in one run:
//! pgbench inserting and querying the same rows in the same tables, and COPY.
//!
//! pgbench speaks PostgreSQL's protocol and computes nothing; the service parses, checks and answers HTTP, keeps the
//! chain and the table of ids, and shares the machine with the program that loads it.

mod plot;
mod sql;
mod subject;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use subject::{Load, Subject};

/// Measure DataStorage beside pgbench and COPY
#[derive(Args)]
pub(crate) struct Options {
    /// How long each figure is measured
    #[arg(long, default_value_t = 10)]
    seconds: u64,

    /// How often each pair is measured, one after the other; the medians count
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Sizes of the table at which queries are measured
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000])]
    rows: Vec<u64>,

    /// Writes the plots here as SVG
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
}

/// A figure of the service, the same of PostgreSQL, and the ratio.
struct Pair {
    what: String,
    service: f64,
    database: f64,
    limit: Option<f64>,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {
        seconds,
        rounds,
        rows,
        plots,
    } = options;
    let subject = Subject::start(seconds)?;
    eprintln!(
        "ready {:.0} ms after its start, {:.1} MiB resident",
        subject.ready_ms,
        subject.memory_mib()?
    );
    let idle = subject.memory_mib()?;
    let mut pairs = Vec::new();
    let mut curve = Vec::new();
    for connections in [1, 4, 16, 64, 256] {
        let limit = match connections {
            16 => Some(1.0),
            64 => Some(1.2),
            _ => None,
        };
        let name = format!("single writes, {connections} connections, events/s");
        let (pair, load) = subject.pair(
            name,
            rounds,
            limit,
            connections,
            &["--what", "events"],
            sql::INSERT,
            1.0,
        )?;
        curve.push((connections as f64, pair.service, pair.database, load));
        pairs.push(pair);
    }
    let loaded = subject.memory_mib()?;
    for connections in [4, 16] {
        let name = format!("batches of 100, {connections} connections, events/s");
        let load = ["--what", "batches", "--batch", "100"];
        pairs.push(
            subject
                .pair(
                    name,
                    rounds,
                    Some(0.8),
                    connections,
                    &load,
                    sql::INSERT_100,
                    100.0,
                )?
                .0,
        );
    }
    let copied = subject.copy()?;
    let steady = subject.load(16, &["--what", "events", "--rate", "1000"])?;
    let mut sizes = Vec::new();
    for size in rows {
        subject.fill(size)?;
        let load = [
            "--what",
            "queries",
            "--prefix",
            "fill",
            "--correlations",
            &(size / sql::EVENTS_OF_ONE).to_string(),
        ];
        let name = format!("first page by correlation, 16 connections, {size} rows, queries/s");
        let script = sql::page(size / sql::EVENTS_OF_ONE);
        let (pair, _) = subject.pair(name, rounds, Some(0.7), 16, &load, &script, 1.0)?;
        let alone = subject.load(1, &load)?;
        sizes.push((size as f64, alone));
        pairs.push(pair);
    }
    let text = report(&subject, &pairs, &curve, copied, &steady, &sizes, (idle, loaded));
    std::io::stdout().lock().write_all(text.as_bytes())?;
    if let Some(folder) = plots {
        fs::create_dir_all(&folder)?;
        let writes: Vec<_> = curve
            .iter()
            .map(|(x, service, database, _)| (*x, *service, *database))
            .collect();
        fs::write(folder.join("datastorage-writes.svg"), plot::writes(&writes))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[allow(
    clippy::too_many_arguments,
    reason = "each is a part of the one report, and is used once"
)]
fn report(
    subject: &Subject,
    pairs: &[Pair],
    curve: &[(f64, f64, f64, Load)],
    copied: f64,
    steady: &Load,
    sizes: &[(f64, Load)],
    (idle, loaded): (f64, f64),
) -> String {
    let mut text = format!("PostgreSQL {}, commits on disk.\n\n", subject.version());
    text.push_str(
        "| what | DataStorage | PostgreSQL (pgbench) | ratio | wanted |\n|---|---:|---:|---:|---:|\n",
    );
    for Pair {
        what,
        service,
        database,
        limit,
    } in pairs
    {
        let wanted = limit.map_or(String::new(), |limit| format!("≥ {limit}"));
        let ratio = service / database;
        text.push_str(&format!(
            "| {what} | {service:.0} | {database:.0} | {ratio:.2} | {wanted} |\n"
        ));
    }
    text.push_str(&format!(
        "| COPY of the same rows, one connection, rows/s | | {copied:.0} | | |\n"
    ));
    text.push_str("\n| latency, ms | p50 | p95 | p99 | max |\n|---|---:|---:|---:|---:|\n");
    let row = |what: &str, load: &Load| {
        let Load {
            p50_ms,
            p95_ms,
            p99_ms,
            max_ms,
            ..
        } = load;
        format!("| {what} | {p50_ms:.1} | {p95_ms:.1} | {p99_ms:.1} | {max_ms:.1} |\n")
    };
    for (connections, _, _, load) in curve {
        text.push_str(&row(
            &format!("single writes, {connections} connections, all they carry"),
            load,
        ));
    }
    text.push_str(&row("single writes, 1,000/s (wanted: p95 < 10)", steady));
    for (size, load) in sizes {
        text.push_str(&row(
            &format!("first page by correlation, {size} rows, one connection"),
            load,
        ));
    }
    text.push_str(&format!(
        "\nStart to ready {:.0} ms; resident {idle:.1} MiB idle, {loaded:.1} MiB after the writes at 256 connections.\n",
        subject.ready_ms
    ));
    text
}
