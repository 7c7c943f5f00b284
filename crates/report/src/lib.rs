//! What a run of the stack leaves for people and tools.
//!
//! | file | for |
//! |---|---|
//! | report.json | programs: everything, in a documented form (docs/report.schema.json) |
//! | junit.xml | CI systems: the scenarios, and the tasks |
//! | trace.json | Perfetto and chrome://tracing |
//! | timeline.svg | a README: bars by task, the chain that bounded the run marked |
//! | report.html | people: all of it on one page that asks no other machine for anything |
//!
//! [`write_all`] writes them, [`summary`] is the end of a run in the terminal. Both come from a [`Report`] alone;
//! [`Sampler`] and [`earlier_runs`] gather two of its parts.

mod analysis;
mod chrome_trace;
mod compare;
mod document;
#[cfg(test)]
#[path = "../tests/report/fixture.rs"]
#[expect(dead_code, reason = "the tests in tests/ use the rest")]
mod fixture;
mod junit;
mod merge;
mod model;
mod page;
mod sampler;
#[cfg(test)]
mod schema;
mod summary;
mod template;
mod timeline;
mod words;

#[cfg(test)]
extern crate self as report;

use std::fs;
use std::path::Path;

use anyhow::Context;

pub use document::{
    Cost, Document, DocumentEdge, DocumentOutcome, DocumentTask, DocumentThrough, DocumentWait, IfFree, Link,
    earlier_runs,
};
pub use merge::{Part, merge};
pub use model::{
    EarlierRun, Failure, Machine, Report, Run, RunResult, Sample, Scenario, ScenarioOutcome, TaskInfo,
};
pub use sampler::Sampler;
pub use summary::summary;

/// The names of the files in a run's folder.
pub struct Files {
    /// For programs.
    pub report: &'static str,
    /// For CI systems.
    pub junit: &'static str,
    /// For Perfetto.
    pub trace: &'static str,
    /// The picture.
    pub timeline: &'static str,
    /// The page.
    pub page: &'static str,
}

/// The names of the files in a run's folder.
pub const FILES: Files = Files {
    report: "report.json",
    junit: "junit.xml",
    trace: "trace.json",
    timeline: "timeline.svg",
    page: "report.html",
};

/// Writes all files into the run's folder, which exists.
///
/// # Errors
/// All that could not be written, not the first only: a picture that fails must not cost the report.
pub fn write_all(report: &Report, folder: &Path) -> anyhow::Result<()> {
    let json = |value: serde_json::Result<String>| value.map(|text| text + "\n").map_err(anyhow::Error::from);
    let files = [
        (
            FILES.report,
            json(serde_json::to_string_pretty(&Document::new(report))),
        ),
        (FILES.junit, Ok(junit::render(report))),
        (
            FILES.trace,
            json(serde_json::to_string(&chrome_trace::render(report))),
        ),
        (FILES.timeline, timeline::render(report)),
        (FILES.page, page::render(report)),
    ];
    let errors: Vec<String> = files
        .into_iter()
        .filter_map(|(name, text)| {
            let path = folder.join(name);
            let written = text.and_then(|text| Ok(fs::write(&path, text)?));
            written.with_context(|| format!("write {}", path.display())).err()
        })
        .map(|error| format!("{error:#}"))
        .collect();
    anyhow::ensure!(
        errors.is_empty(),
        "the report is not whole:\n  {}",
        errors.join("\n  ")
    );
    Ok(())
}
