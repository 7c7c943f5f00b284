//! Faults under load: what was acknowledged is counted against what is stored.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Options;
use super::record::{Figure, Load, Measured, Target};
use super::subject::{Programs, Subject};

use subprocess::eprint_line;

/// How long what was acknowledged may take until it is stored.
const STORED_WITHIN: Duration = Duration::from_secs(180);
/// The bound of the stream in the last experiment.
const MOST_ENTRIES: u64 = 10_000;

pub(super) fn measure(programs: &Programs, options: &Options) -> anyhow::Result<Measured> {
    let mut subject = Subject::start(programs, options.seconds)?;
    let mut part = subject.part(options);
    // A tenth of everything for a look.
    let scale = if options.quick { 10 } else { 1 };
    part.figures.extend(away_under_load(&subject, 60 / scale)?);
    part.figures.extend(stopped_meanwhile(&mut subject)?);
    part.figures.extend(drained(&subject, 120 / scale)?);
    let bounded = Subject::start_with(
        programs,
        options.seconds,
        &format!("[stream]\nmost_entries = {MOST_ENTRIES}\n"),
    )?;
    part.figures.extend(past_the_bound(&bounded)?);
    Ok(part)
}

/// PostgreSQL stopped for a third of the time.
fn away_under_load(subject: &Subject, seconds: u64) -> anyhow::Result<Vec<Figure>> {
    let ids = subject.file("away");
    let third = Duration::from_secs(seconds) / 3;
    let load = std::thread::scope(|scope| -> anyhow::Result<Load> {
        let load = scope.spawn(|| acknowledged(subject, seconds, 50, "away", &ids));
        // The schedule of the experiment, not a wait for something.
        std::thread::sleep(third);
        subject.postgres().stop()?;
        std::thread::sleep(third);
        subject.postgres().start_again()?;
        load.join().map_err(|_| anyhow::anyhow!("the load failed"))?
    })?;
    let what = format!("PostgreSQL away {} s of {seconds} s at 50/s", seconds / 3);
    eprint_line(format!("{what}: answers {:?}", load.statuses));
    ensure!(load.statuses.contains_key(&202), "nothing went to the stream");
    lost(subject, &what, "away", &[&ids])
}

/// The service stopped while PostgreSQL is away, and started again when it is back.
fn stopped_meanwhile(subject: &mut Subject) -> anyhow::Result<Vec<Figure>> {
    let ids = subject.file("stopped");
    subject.postgres().stop()?;
    let load = acknowledged(subject, 3, 100, "stopped", &ids)?;
    eprint_line(format!(
        "stopped while PostgreSQL is away: answers {:?}",
        load.statuses
    ));
    subject.stop()?;
    subject.postgres().start_again()?;
    subject.restart()?;
    lost(subject, "stopped while PostgreSQL is away", "stopped", &[&ids])
}

/// The stream filled during an outage, then drained.
fn drained(subject: &Subject, seconds: u64) -> anyhow::Result<Vec<Figure>> {
    let ids = subject.file("drained");
    subject.postgres().stop()?;
    let load = acknowledged(subject, seconds, 100, "drained", &ids)?;
    eprint_line(format!(
        "an outage of {seconds} s at 100/s: answers {:?}",
        load.statuses
    ));
    subject.postgres().start_again()?;
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

/// More than the stream takes.
fn past_the_bound(subject: &Subject) -> anyhow::Result<Vec<Figure>> {
    subject.postgres().stop()?;
    let ids = subject.file("bound");
    // As many as the connections carry, until well past the bound.
    let mut refused = 0;
    let mut files = Vec::new();
    while refused < MOST_ENTRIES / 2 {
        let file = ids.with_extension(files.len().to_string());
        let shown = file.display().to_string();
        let arguments = ["--prefix", "bound", "--acknowledged", &shown];
        let load = subject.load(16, 2, &arguments)?;
        refused += load.statuses.get(&503).copied().unwrap_or(0);
        files.push(file);
    }
    let what = format!("stream past its bound of {MOST_ENTRIES}");
    eprint_line(format!("{what}: {refused} refused"));
    subject.postgres().start_again()?;
    let files: Vec<&Path> = files.iter().map(std::path::PathBuf::as_path).collect();
    lost(subject, &what, "bound", &files)
}

/// Writes at a rate; the ids of what was acknowledged go into a file.
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

/// Waits until everything acknowledged is stored; what is missing in the end, and what is stored twice.
fn lost(subject: &Subject, what: &str, prefix: &str, ids: &[&Path]) -> anyhow::Result<Vec<Figure>> {
    let begin = Instant::now();
    let missing = loop {
        let missing = subject.missing(ids)?;
        if missing == 0 || begin.elapsed() > STORED_WITHIN {
            break missing;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let doubled = subject.doubled(prefix)?;
    let none = Some(Target::AtMost(0.0));
    let figure = |which: &str, count: u64| {
        Figure::new(
            format!("{what}: acknowledged and {which}"),
            "events",
            none,
            vec![count as f64],
        )
    };
    Ok(vec![figure("missing", missing), figure("stored twice", doubled)])
}
