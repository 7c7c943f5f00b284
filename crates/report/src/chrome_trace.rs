//! trace.json: the run in Chrome's trace event format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

use std::time::Duration;

use serde_json::{Value, json};
use taskgraph::TaskTrace;

use crate::analysis::Analysis;
use crate::model::Report;
use crate::{timeline, words};

/// Process ids of the trace: Perfetto shows the tasks and the machine as groups.
const TASKS: u32 = 1;
const MACHINE: u32 = 2;

pub(crate) fn render(report: &Report) -> Value {
    let analysis = Analysis::new(&report.trace);
    let mut events = vec![
        json!({"ph": "M", "pid": TASKS, "name": "process_name", "args": {"name": format!("run {}", report.run.id)}}),
        json!({"ph": "M", "pid": MACHINE, "name": "process_name", "args": {"name": "machine"}}),
    ];
    for (row, task) in timeline::rows(&report.trace).into_iter().enumerate() {
        events.extend(task_events(report, &analysis, row, task));
    }
    for sample in &report.samples {
        let at = sample.at * 1e6;
        events.push(
            json!({"ph": "C", "pid": MACHINE, "name": "CPUs busy", "ts": at, "args": {"CPUs": sample.cpus}}),
        );
        events.push(json!({"ph": "C", "pid": MACHINE, "name": "memory", "ts": at, "args": {"bytes": sample.memory_bytes}}));
    }
    json!({
        "displayTimeUnit": "ms",
        "otherData": {"run": report.run.id, "provider": report.run.provider, "order": report.run.order},
        "traceEvents": events,
    })
}

/// Returns the events of a task, on a thread of its own so that it has a row with its name.
fn task_events(report: &Report, analysis: &Analysis, row: usize, task: &TaskTrace) -> Vec<Value> {
    let thread = row + 1;
    let mut events = vec![
        json!({"ph": "M", "pid": TASKS, "tid": thread, "name": "thread_name", "args": {"name": task.name}}),
        json!({"ph": "M", "pid": TASKS, "tid": thread, "name": "thread_sort_index", "args": {"sort_index": row}}),
    ];
    let (Some(ready), Some(start)) = (task.ready, task.start) else {
        return events;
    };
    if let Some(held) = &task.held {
        let resources = if held.resources.is_empty() {
            "a thread".to_owned()
        } else {
            held.resources.join(", ")
        };
        events.push(json!({
            "ph": "X", "pid": TASKS, "tid": thread, "cat": "waiting", "name": format!("waits for {resources}"),
            "ts": micros(ready), "dur": micros(task.waited()), "args": {"freed_by": held.freed_by},
        }));
    }
    events.push(json!({
        "ph": "X", "pid": TASKS, "tid": thread, "name": task.name,
        "cat": if analysis.is_critical(&task.name) { "running,critical" } else { "running" },
        "ts": micros(start), "dur": micros(task.duration()),
        "args": {
            "kind": report.kind(&task.name),
            "outcome": task.outcome,
            "slack": analysis.slack.get(&task.name).map(|slack| words::span(*slack)),
            "notes": task.notes,
            "measured": task.measured,
            "log": report.tasks.get(&task.name).and_then(|info| info.log.as_ref()),
        },
    }));
    for (milestone, at) in &task.milestones {
        events.push(json!({
            "ph": "i", "s": "t", "pid": TASKS, "tid": thread, "cat": "milestone", "name": milestone, "ts": micros(*at),
        }));
    }
    events.extend(flow(analysis, thread, task, start));
    events
}

/// Returns arrows from each link of the bounding chain to the next. Both ends must be within slices.
fn flow(analysis: &Analysis, thread: usize, task: &TaskTrace, start: Duration) -> Vec<Value> {
    let Some(position) = analysis.bounding.iter().position(|link| link.task == task.name) else {
        return Vec::new();
    };
    let arrow = |phase: &str, id: usize, at: u64| {
        json!({
            "ph": phase, "bp": "e", "id": id, "pid": TASKS, "tid": thread, "cat": "critical", "name": "bounds the run",
            "ts": at,
        })
    };
    let mut events = Vec::new();
    if position > 0 {
        events.push(arrow("f", position, micros(start)));
    }
    if position + 1 < analysis.bounding.len() {
        let last = micros(analysis.bounding[position].to).saturating_sub(1);
        events.push(arrow("s", position + 1, last.max(micros(start))));
    }
    events
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
