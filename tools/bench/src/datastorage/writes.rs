//! Writes by number of connections and at a constant rate; batches; start and memory.

use super::record::{Latency, Measured};
use super::subject::{Programs, Subject};
use super::{Options, sql};
use crate::figures::{Figure, Target, take_median};

const CONNECTIONS: [usize; 5] = [1, 4, 16, 64, 256];

pub(super) fn single(programs: &Programs, options: &Options) -> anyhow::Result<Measured> {
    let mut subject = Subject::start(programs, options.seconds)?;
    let mut ready = Vec::new();
    for _ in 0..options.rounds.max(1) * 3 {
        ready.push(subject.restart()?);
    }
    let idle = subject.memory_mib("VmRSS")?;
    let mut part = subject.part(options);
    for connections in CONNECTIONS {
        let target = match connections {
            16 => Some(Target::AtLeast(1.0)),
            64 => Some(Target::AtLeast(1.2)),
            _ => None,
        };
        let name = format!("single writes, {connections} connections, events/s");
        let pair = subject.pair(
            &name,
            options.rounds,
            connections,
            &["--what", "events"],
            sql::INSERT,
            1.0,
        )?;
        part.latencies.push(Latency {
            name: format!("single writes, {connections} connections, at capacity"),
            load: pair.load.clone(),
        });
        part.figures
            .push(Figure::ratio(name, target, &pair.service, &pair.database));
        part.curve.push((connections as f64, pair.service, pair.database));
    }
    let at = |connections: f64| {
        part.curve
            .iter()
            .find(|point| point.0 == connections)
            .map_or(Vec::new(), |point| point.1.clone())
    };
    let (few, many) = (at(4.0), at(256.0));
    part.figures.push(Figure::ratio(
        "single writes at 256 connections against 4",
        Some(Target::AtLeast(1.0)),
        &many,
        &few,
    ));
    let mut steady = Vec::new();
    for _ in 0..options.rounds.max(1) {
        let load = subject.load(16, options.seconds, &["--what", "events", "--rate", "1000"])?;
        load.check()?;
        steady.push(load);
    }
    part.figures.push(Figure::new(
        "single writes at 1,000/s: p95",
        "ms",
        Some(Target::Below(10.0)),
        steady.iter().map(|load| load.p95_ms).collect(),
    ));
    let median = take_median(&mut steady, |load| load.p95_ms);
    part.latencies.extend(median.map(|load| Latency {
        name: "single writes, 16 connections, 1,000/s".to_owned(),
        load,
    }));
    part.figures.push(Figure::new(
        "start to ready",
        "ms",
        Some(Target::Below(100.0)),
        ready,
    ));
    let memory =
        |name: &str, limit: f64, value: f64| Figure::new(name, "MiB", Target::Below(limit), vec![value]);
    part.figures.push(memory("resident memory, idle", 20.0, idle));
    part.figures.push(memory(
        "resident memory, peak under these writes",
        48.0,
        subject.memory_mib("VmHWM")?,
    ));
    Ok(part)
}

pub(super) fn batches(programs: &Programs, options: &Options) -> anyhow::Result<Measured> {
    let subject = Subject::start(programs, options.seconds)?;
    let mut part = subject.part(options);
    for connections in [4, 16] {
        let name = format!("batches of 100, {connections} connections, events/s");
        let load = ["--what", "batches", "--batch", "100"];
        let pair = subject.pair(&name, options.rounds, connections, &load, sql::INSERT_100, 100.0)?;
        part.latencies.push(Latency {
            name: format!("batches of 100, {connections} connections, at capacity"),
            load: pair.load.clone(),
        });
        part.figures.push(Figure::ratio(
            name,
            Some(Target::AtLeast(0.8)),
            &pair.service,
            &pair.database,
        ));
    }
    let mut copied = Vec::new();
    for _ in 0..options.rounds.max(1) {
        copied.push(subject.copy()?);
    }
    part.figures.push(Figure::new(
        "COPY of the same rows, one connection",
        "rows/s",
        None,
        copied,
    ));
    Ok(part)
}
