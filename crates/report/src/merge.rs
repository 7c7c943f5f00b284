//! Merges the runs of all shards into one report.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use taskgraph::Trace;

use crate::document::Document;
use crate::model::{Failure, Machine, Report, Run, RunResult, TaskInfo};

/// Report of a shard and the folder of its files.
#[derive(Clone, Debug)]
pub struct Part {
    /// Content of its report.json.
    pub document: Document,
    /// Folder with its logs, relative to the folder of the merged report.
    pub folder: String,
}

/// Merges the runs of all shards: all scenarios, and the tasks with the name of their shard, on a common clock.
/// `id` and `command` are those of the merged report. A shard without a report is a failure of the merged run.
///
/// # Errors
/// If the runs are not shards of the same run: a run without a shard, another stack, another number of shards, the same
/// shard twice, or the same scenario in two shards.
pub fn merge(mut parts: Vec<Part>, id: &str, command: Vec<String>) -> anyhow::Result<Report> {
    let shards = shards(&parts)?;
    parts.sort_by_key(|part| shard_of(&part.document.run).ok());
    let first = parts.first().context("no report to merge")?.document.clone();
    let runs = || parts.iter().map(|part| &part.document.run);
    let started = runs().map(|run| run.started).min().unwrap_or(first.run.started);
    let mut merged = Report {
        run: Run {
            id: id.to_owned(),
            provider: joined(runs().map(|run| run.provider.as_str())),
            provider_reason: joined(runs().map(|run| run.provider_reason.as_str())),
            order: joined(runs().map(|run| run.order.as_str())),
            command,
            started,
            result: RunResult::Passed,
            kept: runs().any(|run| run.kept),
            shard: None,
            runner_cpu_seconds: None,
            ..first.run.clone()
        },
        machine: machine(&parts),
        trace: Trace {
            wall: Duration::ZERO,
            resources: BTreeMap::new(),
            tasks: Vec::new(),
        },
        tasks: BTreeMap::new(),
        tests: Vec::new(),
        failures: Vec::new(),
        samples: Vec::new(),
        earlier: Vec::new(),
    };
    let mut results: Vec<RunResult> = runs().map(|run| run.result).collect();
    for part in parts {
        add(&mut merged, part, started)?;
    }
    for shard in 1..=shards.count {
        if !shards.present.contains(&shard) {
            let task = format!("{shard}/{}", shards.count);
            let text = format!("shard {task} left no report: its scenarios did not run");
            merged.failures.push(Failure { task, text });
            results.push(RunResult::Failed);
        }
    }
    merged.run.result = worst(&results);
    Ok(merged)
}

/// Indices of the shards and their number.
struct Shards {
    present: BTreeSet<usize>,
    count: usize,
}

fn shards(parts: &[Part]) -> anyhow::Result<Shards> {
    let mut present = BTreeMap::new();
    let mut counts: BTreeMap<(usize, &str), &str> = BTreeMap::new();
    let mut tests: BTreeMap<&str, &str> = BTreeMap::new();
    for Part { document, .. } in parts {
        let run = &document.run;
        let (shard, whole) = shard_of(run)?;
        if let Some(other) = present.insert(shard, run.id.as_str()) {
            bail!("the runs {other} and {} are both shard {shard}/{whole}", run.id);
        }
        counts.insert((whole, &run.stack), &run.id);
        for test in &document.tests {
            if let Some(other) = tests.insert(&test.name, &run.id) {
                bail!(
                    "scenario {} is in the runs {other} and {}: they are not shards of the same build",
                    test.name,
                    run.id
                );
            }
        }
    }
    ensure!(
        counts.len() <= 1,
        "the runs are not shards of the same run: {}",
        counts
            .iter()
            .map(|((whole, stack), run)| format!("run {run} is one of {whole} shards of stack {stack}"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let count = counts.keys().next().map_or(0, |(count, _)| *count);
    Ok(Shards {
        present: present.into_keys().collect(),
        count,
    })
}

/// `2/3` → (2, 3).
fn shard_of(run: &Run) -> anyhow::Result<(usize, usize)> {
    let shard = run
        .shard
        .as_deref()
        .with_context(|| format!("run {} is not a shard: it ran without --shard I/N", run.id))?;
    let parts = shard
        .split_once('/')
        .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    parts.with_context(|| format!("run {}: invalid shard {shard:?}; must be I/N", run.id))
}

/// Joins the distinct words in the order of the runs.
fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut different: Vec<&str> = Vec::new();
    for word in words {
        if !different.contains(&word) {
            different.push(word);
        }
    }
    different.join(", ")
}

fn machine(parts: &[Part]) -> Machine {
    let machines = || parts.iter().map(|part| &part.document.machine);
    Machine {
        system: joined(machines().map(|machine| machine.system.as_str())),
        cpus: machines().map(|machine| machine.cpus).max().unwrap_or_default(),
        memory_bytes: machines()
            .map(|machine| machine.memory_bytes)
            .max()
            .unwrap_or_default(),
    }
}

/// Returns the most severe result.
fn worst(results: &[RunResult]) -> RunResult {
    let order = [RunResult::Interrupted, RunResult::Failed, RunResult::TestsFailed];
    let found = order.into_iter().find(|result| results.contains(result));
    found.unwrap_or(RunResult::Passed)
}

fn add(merged: &mut Report, part: Part, started: jiff::Timestamp) -> anyhow::Result<()> {
    let Part { document, folder } = part;
    let (shard, whole) = shard_of(&document.run)?;
    let rename = |name: &str| format!("{shard}/{whole} {name}");
    let later = document.run.started.duration_since(started);
    let later = Duration::try_from(later).unwrap_or_default();
    for (name, capacity) in document.resources {
        merged.trace.resources.insert(rename(&name), capacity);
    }
    for task in document.tasks {
        let info = TaskInfo {
            kind: task.kind.clone(),
            log: task.log.as_ref().map(|log| format!("{folder}/{log}")),
        };
        let traced = task.into_trace(later, rename);
        merged.trace.wall = merged.trace.wall.max(traced.end);
        merged.tasks.insert(traced.name.clone(), info);
        merged.trace.tasks.push(traced);
    }
    merged.tests.extend(document.tests);
    merged
        .failures
        .extend(document.failures.into_iter().map(|failure| Failure {
            task: rename(&failure.task),
            text: failure.text,
        }));
    Ok(())
}
