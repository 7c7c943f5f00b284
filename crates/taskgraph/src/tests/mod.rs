//! Tests drive tasks by channels: a task reports its start, and ends when the test releases it.

mod always;
mod analysing;
mod building;
mod cancelling;
mod completion_orders;
mod failing;
mod forecasting;
mod milestones;
mod random_graphs;
mod resources;
mod simulating;
mod stage;

use std::time::Duration;

use crate::{Outcome, Plan, Task, Trace};

/// Long enough that only a hung test reaches it.
const DEADLINE: Duration = Duration::from_secs(120);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A plan from `name: dependency dependency` lines.
fn plan(lines: &[&str]) -> Plan<String> {
    let mut plan = Plan::new();
    for line in lines {
        let (name, after) = line.split_once(':').unwrap_or((line, ""));
        plan.task(Task::new(name, name.to_owned()).after_all(after.split_whitespace()));
    }
    plan
}

fn words(trace: &Trace) -> Vec<(&str, &str)> {
    trace
        .tasks
        .iter()
        .map(|task| (task.name.as_str(), task.outcome.word()))
        .collect()
}

fn outcome<'t>(trace: &'t Trace, task: &str) -> &'t Outcome {
    &trace.task(task).unwrap().outcome
}
