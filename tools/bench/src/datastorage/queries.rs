//! The first page of a correlation, by size of the table.

use super::record::{Figure, Latency, Measured, Target};
use super::subject::{Programs, Subject};
use super::{Options, pause, sql};

pub(super) fn measure(programs: &Programs, options: &Options) -> anyhow::Result<Measured> {
    let subject = Subject::start(programs, options.seconds)?;
    let mut part = subject.part(options);
    let mut alone: Vec<(u64, Vec<f64>)> = Vec::new();
    for size in &options.rows {
        subject.fill(*size)?;
        pause(options)?;
        let correlations = size / sql::EVENTS_OF_ONE;
        let spread = correlations.to_string();
        let load = ["--what", "queries", "--prefix", "fill", "--correlations", &spread];
        let name = format!("first page by correlation, 16 connections, {size} rows, queries/s");
        let pair = subject.pair(&name, options.rounds, 16, &load, &sql::page(correlations), 1.0)?;
        part.figures.push(Figure::ratio(
            name,
            Some(Target::AtLeast(0.7)),
            &pair.service,
            &pair.database,
        ));
        let mut loads = Vec::new();
        for _ in 0..options.rounds.max(1) {
            let load = subject.load(1, options.seconds, &load)?;
            load.all_good()?;
            loads.push(load);
        }
        let times: Vec<f64> = loads.iter().map(|load| load.p50_ms).collect();
        loads.sort_by(|a, b| a.p50_ms.total_cmp(&b.p50_ms));
        let load = loads.swap_remove(loads.len() / 2);
        part.curve
            .push((*size as f64, vec![load.p50_ms], vec![load.p95_ms]));
        part.latencies.push(Latency {
            name: format!("first page by correlation, one connection, {size} rows"),
            load,
        });
        alone.push((*size, times));
    }
    if let (Some((least, few)), Some((most, many))) = (alone.first(), alone.last())
        && least < most
    {
        part.figures.push(Figure::ratio(
            format!("first page by correlation, one connection, ms at {most} rows against {least}"),
            Some(Target::AtMost(1.2)),
            many,
            few,
        ));
    }
    Ok(part)
}
