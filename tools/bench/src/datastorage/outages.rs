//! Faults under load: compares the acknowledged events with the stored ones.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Options;
use super::record::{Load, Measured};
use super::subject::{Programs, Subject};
use crate::children;
use crate::figures::{Figure, Target};

use subprocess::eprint_line;

/// Maximum time from the end of a fault until every acknowledged event is stored.
const STORED_WITHIN: Duration = Duration::from_secs(180);
/// Maximum length of the stream in the last experiment.
const MAX_ENTRIES: u64 = 10_000;

pub(super) fn measure(programs: &Programs, options: &Options) -> anyhow::Result<Measured> {
    let mut subject = Subject::start(programs, options.seconds)?;
    let mut part = subject.part(options);
    // --quick takes a tenth of the time.
    let scale = if options.quick { 10 } else { 1 };
    part.figures.extend(unavailable_under_load(&subject, 60 / scale)?);
    part.figures.extend(stopped_during_outage(&mut subject)?);
    part.figures.extend(drained(&subject, 120 / scale)?);
    let bounded = Subject::start_with(
        programs,
        options.seconds,
        &format!("[stream]\nmax_entries = {MAX_ENTRIES}\n"),
    )?;
    part.figures.extend(beyond_maximum(&bounded)?);
    Ok(part)
}

/// Stops PostgreSQL for a third of the time.
fn unavailable_under_load(subject: &Subject, seconds: u64) -> anyhow::Result<Vec<Figure>> {
    let ids = subject.file("unavailable");
    let third = Duration::from_secs(seconds) / 3;
    let load = std::thread::scope(|scope| -> anyhow::Result<Load> {
        let load = scope.spawn(|| acknowledged(subject, seconds, 50, "unavailable", &ids));
        // These sleeps are the schedule of the experiment.
        children::sleep(third)?;
        subject.postgres().stop()?;
        children::sleep(third)?;
        subject.postgres().restart()?;
        load.join().map_err(|_| anyhow::anyhow!("the load failed"))?
    })?;
    let what = format!(
        "PostgreSQL unavailable for {} s of {seconds} s at 50/s",
        seconds / 3
    );
    eprint_line(format!("{what}: responses {:?}", load.statuses));
    ensure!(
        load.statuses.contains_key(&202),
        "no event was spilled to the stream"
    );
    lost(subject, &what, "unavailable", &[&ids])
}

/// Stops the service while PostgreSQL is unavailable, and starts it when PostgreSQL is available again.
fn stopped_during_outage(subject: &mut Subject) -> anyhow::Result<Vec<Figure>> {
    let ids = subject.file("stopped");
    subject.postgres().stop()?;
    let load = acknowledged(subject, 3, 100, "stopped", &ids)?;
    eprint_line(format!(
        "service stopped during an outage: responses {:?}",
        load.statuses
    ));
    subject.stop()?;
    subject.postgres().restart()?;
    subject.restart()?;
    lost(subject, "service stopped during an outage", "stopped", &[&ids])
}

/// Fills the stream during an outage, then measures how long it takes to drain.
fn drained(subject: &Subject, seconds: u64) -> anyhow::Result<Vec<Figure>> {
    let ids = subject.file("drained");
    subject.postgres().stop()?;
    let load = acknowledged(subject, seconds, 100, "drained", &ids)?;
    eprint_line(format!(
        "an outage of {seconds} s at 100/s: responses {:?}",
        load.statuses
    ));
    subject.postgres().restart()?;
    let begin = Instant::now();
    let what = format!("an outage of {seconds} s at 100/s");
    let mut figures = lost(subject, &what, "drained", &[&ids])?;
    figures.push(Figure::new(
        format!("stream drained after {what}"),
        "s",
        Some(Target::Below(30.0)),
        vec![begin.elapsed().as_secs_f64()],
    ));
    Ok(figures)
}

/// Sends more events during an outage than the stream accepts.
fn beyond_maximum(subject: &Subject) -> anyhow::Result<Vec<Figure>> {
    subject.postgres().stop()?;
    let ids = subject.file("bound");
    // At capacity, until half as many again are rejected.
    let mut rejected = 0;
    let mut files = Vec::new();
    while rejected < MAX_ENTRIES / 2 {
        let file = ids.with_extension(files.len().to_string());
        let shown = file.display().to_string();
        let arguments = ["--prefix", "bound", "--acknowledged", &shown];
        let load = subject.load(16, 2, &arguments)?;
        rejected += load.statuses.get(&503).copied().unwrap_or(0);
        files.push(file);
    }
    let what = format!("stream beyond its maximum of {MAX_ENTRIES}");
    eprint_line(format!("{what}: {rejected} rejected"));
    subject.postgres().restart()?;
    let files: Vec<&Path> = files.iter().map(std::path::PathBuf::as_path).collect();
    lost(subject, &what, "bound", &files)
}

/// Writes at a constant rate; the ids of acknowledged events go into a file.
fn acknowledged(
    subject: &Subject,
    seconds: u64,
    rate: u64,
    prefix: &str,
    ids: &Path,
) -> anyhow::Result<Load> {
    let shown = ids.display().to_string();
    let rate = rate.to_string();
    let arguments = ["--rate", &rate, "--prefix", prefix, "--acknowledged", &shown];
    subject.load(16, seconds, &arguments)
}

/// Waits until all acknowledged events are stored; returns the numbers of those missing in the end and stored twice.
fn lost(subject: &Subject, what: &str, prefix: &str, ids: &[&Path]) -> anyhow::Result<Vec<Figure>> {
    let begin = Instant::now();
    let missing = loop {
        let missing = subject.missing(ids)?;
        if missing == 0 || begin.elapsed() > STORED_WITHIN {
            break missing;
        }
        children::sleep(Duration::from_millis(100))?;
    };
    let duplicates = subject.duplicates(prefix)?;
    let none = Some(Target::AtMost(0.0));
    let figure = |which: &str, count: u64| {
        Figure::new(
            format!("{what}: acknowledged and {which}"),
            "events",
            none,
            vec![count as f64],
        )
    };
    Ok(vec![
        figure("missing", missing),
        figure("stored twice", duplicates),
    ])
}
