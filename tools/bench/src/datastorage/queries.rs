//! First page of a correlation, by number of rows.
use anyhow::Context as _;

use super::record::{Latency, Measured};
use super::subject::{Programs, Subject};
use super::{Options, pause, sql};
use crate::figures::{Figure, Target, take_median};

pub(super) fn measure(programs: &Programs, options: &Options) -> anyhow::Result<Measured> {
    let subject = Subject::start(programs, options.seconds)?;
    let mut part = subject.part(options);
    let mut single: Vec<(u64, Vec<f64>)> = Vec::new();
    for size in &options.rows {
        subject.fill(*size)?;
        pause(options)?;
        let correlations = size / sql::EVENTS_PER_CORRELATION;
        let count = correlations.to_string();
        let load = ["--what", "queries", "--prefix", "fill", "--correlations", &count];
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
            load.check()?;
            loads.push(load);
        }
        let times: Vec<f64> = loads.iter().map(|load| load.p50_ms).collect();
        let load = take_median(&mut loads, |load| load.p50_ms).context("no round was measured")?;
        part.curve
            .push((*size as f64, vec![load.p50_ms], vec![load.p95_ms]));
        part.latencies.push(Latency {
            name: format!("first page by correlation, one connection, {size} rows"),
            load,
        });
        single.push((*size, times));
    }
    if let (Some((min, few)), Some((max, many))) = (single.first(), single.last())
        && min < max
    {
        part.figures.push(Figure::ratio(
            format!("first page by correlation, one connection, ms at {max} rows against {min}"),
            Some(Target::AtMost(1.2)),
            many,
            few,
        ));
    }
    Ok(part)
}
