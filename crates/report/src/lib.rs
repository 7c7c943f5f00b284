//! Writes the reports of a run of the stack.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::time::Duration;
//! use report::{Machine, Report, Run, RunResult};
//! use taskgraph::{Graph, Plan, Task, Timing};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut plan = Plan::new();
//! plan.task(Task::new("compile", ()).estimate(Duration::from_secs(40)));
//! let report = Report {
//!     run: Run {
//!         id: "h7k2mw".into(),
//!         stack: "orders".into(),
//!         provider: "local".into(),
//!         provider_reason: "default".into(),
//!         order: "graph".into(),
//!         shard: None,
//!         command: vec!["xtask".into(), "e2e".into()],
//!         started: "2026-03-01T10:00:00Z".parse()?,
//!         result: RunResult::Passed,
//!         kept: false,
//!         runner_cpu_seconds: None,
//!     },
//!     machine: Machine::this(),
//!     trace: Graph::new(plan)?.simulate(None, Timing::estimated),
//!     tasks: BTreeMap::new(),
//!     tests: Vec::new(),
//!     failures: Vec::new(),
//!     samples: Vec::new(),
//!     earlier: Vec::new(),
//! };
//! let folder = std::env::temp_dir().join("report-example");
//! std::fs::create_dir_all(&folder)?;
//! report::write_all(&report, &folder)?;
//! assert!(report::summary(&report).contains("run h7k2mw on local, order graph: passed in 40.0 s"));
//! # std::fs::remove_dir_all(folder)?;
//! # Ok(()) }
//! ```
//!
//! | file | for |
//! |---|---|
//! | report.json | programs: everything, in a documented format (docs/report.schema.json) |
//! | junit.xml | CI systems: the scenarios, and the tasks |
//! | trace.json | Perfetto and chrome://tracing |
//! | timeline.svg | a README: a bar per task, the bounding chain highlighted |
//! | report.html | people: all of it on one page without external resources |
//!
//! [`write_all`] writes the files, [`summary`] returns the text for the terminal. Both use only the [`Report`];
//! [`Sampler`] and [`earlier_runs`] collect two of its parts.

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

/// Names of the files in the folder of a run.
pub struct Files {
    /// Report for programs.
    pub report: &'static str,
    /// Report for CI systems.
    pub junit: &'static str,
    /// Trace for Perfetto.
    pub trace: &'static str,
    /// Timeline.
    pub timeline: &'static str,
    /// Page.
    pub page: &'static str,
}

/// Names of the files in the folder of a run.
pub const FILES: Files = Files {
    report: "report.json",
    junit: "junit.xml",
    trace: "trace.json",
    timeline: "timeline.svg",
    page: "report.html",
};

/// Writes all files into an existing folder.
///
/// # Errors
/// All files that could not be written; the others are written.
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
        "cannot write all files of the report:\n  {}",
        errors.join("\n  ")
    );
    Ok(())
}
