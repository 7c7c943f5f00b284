//! Comparison with earlier runs on this machine.

use serde::Serialize;

use crate::model::{EarlierRun, Report, RunResult};
use crate::words::{self, median, printable};

/// Smallest change of a task's duration in seconds that is shown; smaller ones are noise.
const NOISE: f64 = 0.5;

/// The last runs, this one last, and changes against their median.
#[derive(Serialize)]
pub(crate) struct Comparison {
    pub(crate) runs: Vec<Row>,
    /// See [`verdict`].
    pub(crate) verdict: Option<String>,
    /// Tasks with the largest changes of duration.
    pub(crate) changes: Vec<Change>,
}

#[derive(Serialize)]
pub(crate) struct Row {
    id: String,
    started: String,
    provider: String,
    order: String,
    result: &'static str,
    duration: String,
    /// Percentage of the longest run.
    share: f64,
    own: bool,
}

#[derive(Serialize)]
pub(crate) struct Change {
    task: String,
    now: String,
    before: String,
    change: String,
    slower: bool,
}

/// Returns `None` without an earlier run.
pub(crate) fn comparison(report: &Report) -> Option<Comparison> {
    if report.earlier.is_empty() {
        return None;
    }
    Some(Comparison {
        runs: runs(report),
        verdict: verdict(report),
        changes: changes(report),
    })
}

/// `4 % faster than the median of 5 earlier runs here (95.1 s)`.
///
/// `None` without a comparable run, and if this run did not pass: a failed run is fast.
pub(crate) fn verdict(report: &Report) -> Option<String> {
    if report.run.result != RunResult::Passed {
        return None;
    }
    let before: Vec<f64> = report.comparable().map(|earlier| earlier.seconds).collect();
    let runs = words::count(before.len(), "earlier run");
    let median = median(before).filter(|median| *median > 0.0)?;
    let change = (report.trace.wall.as_secs_f64() / median - 1.0) * 100.0;
    let how = match change.round() as i64 {
        0 => "as fast as".to_owned(),
        slower @ 1.. => format!("{slower} % slower than"),
        faster => format!("{} % faster than", -faster),
    };
    Some(format!(
        "{how} the median of {runs} here ({})",
        words::duration(median)
    ))
}

fn runs(report: &Report) -> Vec<Row> {
    let own = EarlierRun {
        id: report.run.id.clone(),
        started: report.run.started,
        provider: report.run.provider.clone(),
        order: report.run.order.clone(),
        result: report.run.result,
        seconds: report.trace.wall.as_secs_f64(),
        tasks: Default::default(),
    };
    let all = || report.earlier.iter().chain([&own]);
    let longest = all().map(|run| run.seconds).fold(f64::MIN_POSITIVE, f64::max);
    all()
        .map(|run| Row {
            id: printable(&run.id),
            started: run.started.strftime("%Y-%m-%d %H:%M").to_string(),
            provider: printable(&run.provider),
            order: printable(&run.order),
            result: run.result.as_str(),
            duration: words::duration(run.seconds),
            share: (run.seconds / longest * 1000.0).round() / 10.0,
            own: run.id == own.id,
        })
        .collect()
}

/// Returns the ten largest changes.
fn changes(report: &Report) -> Vec<Change> {
    let done = report
        .trace
        .tasks
        .iter()
        .filter(|task| matches!(task.outcome, taskgraph::Outcome::Done { .. }));
    let mut changes: Vec<(f64, Change)> = done
        .filter_map(|task| {
            let before = report
                .comparable()
                .filter_map(|earlier| earlier.tasks.get(&task.name).copied());
            let before = median(before.collect())?;
            let now = task.duration().as_secs_f64();
            let change = now - before;
            let sign = if change > 0.0 { "+" } else { "−" };
            let row = Change {
                task: printable(&task.name),
                now: words::duration(now),
                before: words::duration(before),
                change: format!("{sign}{}", words::duration(change.abs())),
                slower: change > 0.0,
            };
            (change.abs() >= NOISE).then_some((change.abs(), row))
        })
        .collect();
    changes.sort_by(|one, other| other.0.total_cmp(&one.0));
    changes.into_iter().take(10).map(|(_, change)| change).collect()
}
