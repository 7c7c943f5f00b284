//! The measured runs on machines with more cores: replayed by the runner's own scheduler in virtual time.
//!
//! In the sequential order one task runs at a time, so that all that the machine's CPUs did meanwhile was for that
//! task: what runs in a cluster's node or in a container is no child of the runner, and its CPU time is known in no
//! other way. From there a model foretells the other orders on the same machine, which is compared with what they
//! really took, and all three on others.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use report::{DocumentEdge, DocumentTask};
use taskgraph::{Edge, Forecast, Outcome, TaskTrace, Trace};

use super::{ORDERS, record::Record, run::Measured};

/// Figure of a task from which [`taskgraph`] takes its CPU time.
const CPU: &str = "cpu_seconds";

/// The machines that are foretold, by their CPUs.
pub(super) const CORES: [u32; 2] = [4, 8];

/// One run of one order, as the model sees it.
#[derive(Debug)]
pub(super) struct Replay {
    /// What it took, in seconds until the scenarios began.
    pub(super) measured: f64,
    /// What the model says that it takes on the same machine.
    pub(super) replayed: f64,
    /// What it would take with each of [`CORES`].
    pub(super) forecasts: Vec<Forecast>,
}

/// The replays of each order, by rounds.
pub(super) type Replays = BTreeMap<&'static str, Vec<Replay>>;

/// Replays each round in which all orders ran.
pub(super) fn all(record: &Record) -> anyhow::Result<Replays> {
    let mut replays = Replays::new();
    let rounds = ORDERS.map(|order| record.runs(order).len()).into_iter().min();
    for round in 0..rounds.unwrap_or(0) {
        let sequential = &record.runs("sequential")[round];
        for order in ORDERS {
            let replay = replay(sequential, &record.runs(order)[round])
                .with_context(|| format!("replay round {} of {order}", round + 1))?;
            replays.entry(order).or_default().push(replay);
        }
    }
    Ok(replays)
}

fn replay(sequential: &Measured, other: &Measured) -> anyhow::Result<Replay> {
    let cores = sequential.document.machine.cpus as f64;
    let mut alone = until_scenarios(sequential);
    for task in &mut alone.tasks {
        let (from, to) = (task.start.unwrap_or_default(), task.end);
        let busy = sequential.busy(from.as_secs_f64(), to.as_secs_f64());
        task.measured.insert(CPU.to_owned(), busy);
    }
    let other_trace = until_scenarios(other);
    let model = alone.model(cores)?.in_order_of(&other_trace);
    let forecasts = CORES.map(|cores| model.forecast(f64::from(cores), &other_trace.resources));
    Ok(Replay {
        measured: other.up,
        replayed: model.check()?.as_secs_f64(),
        forecasts: forecasts.into_iter().collect::<Result<_, _>>()?,
    })
}

/// The run as the scheduler left it, up to where the scenarios began.
fn until_scenarios(run: &Measured) -> Trace {
    let is_before = |task: &&DocumentTask| {
        !task.always && task.name != "test" && task.start.is_some_and(|start| start < run.up)
    };
    Trace {
        wall: seconds(run.up),
        resources: run.document.resources.clone(),
        tasks: run.document.tasks.iter().filter(is_before).map(task).collect(),
    }
}

fn task(task: &DocumentTask) -> TaskTrace {
    let edge = |edge: &DocumentEdge| Edge {
        task: edge.task.clone(),
        milestone: edge.milestone.clone(),
    };
    let milestones = task.milestones.iter();
    TaskTrace {
        name: task.name.clone(),
        after: task.after.iter().map(edge).collect(),
        needs: task.needs.clone(),
        estimate: seconds(task.estimate),
        always: task.always,
        ready: task.ready.map(seconds),
        start: task.start.map(seconds),
        end: seconds(task.end),
        released_by: task.released_by.as_ref().map(edge),
        held: None,
        milestones: milestones
            .map(|(name, at)| (name.clone(), seconds(*at)))
            .collect(),
        // The run came as far as its scenarios: whatever was before them ended well.
        outcome: Outcome::Done { note: None },
        notes: Vec::new(),
        measured: task.measured.clone(),
    }
}

/// A report's seconds; nothing where a file that was changed by hand has no number of them.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
