//! Replays of the measured runs on machines with more cores, by the runner's scheduler in virtual time.
//!
//! In the sequential order one task runs at a time, so the CPU time of the whole machine is the task's. There is no other
//! measure: processes in a cluster's node or a container are no children of the runner. The model built from that run
//! forecasts the other orders on the same machine, which shows its error, and all orders on other machines.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use report::DocumentTask;
use taskgraph::{Forecast, Outcome, TaskTrace, Trace};

use super::{ORDERS, record::Record, run::Measured};

/// Figure of a task from which [`taskgraph`] takes its CPU time.
const CPU: &str = "cpu_seconds";

/// CPUs of the machines of the forecasts.
pub(super) const CORES: [u32; 2] = [4, 8];

/// Replay of one run.
#[derive(Debug)]
pub(super) struct Replay {
    /// Measured seconds until the scenarios started.
    pub(super) measured: f64,
    /// The same by the model on the same machine.
    pub(super) replayed: f64,
    /// The same by the model with each of [`CORES`].
    pub(super) forecasts: Vec<Forecast>,
}

/// Replays of each order, by rounds.
pub(super) type Replays = BTreeMap<&'static str, Vec<Replay>>;

/// Replays each complete round.
pub(super) fn all(record: &Record) -> anyhow::Result<Replays> {
    let mut replays = Replays::new();
    let rounds = ORDERS.map(|order| record.runs(order).len()).into_iter().min();
    for round in 0..rounds.unwrap_or(0) {
        let sequential = &record.runs("sequential")[round];
        for order in ORDERS {
            let replay = replay(sequential, &record.runs(order)[round])
                .with_context(|| format!("cannot replay round {} of {order}", round + 1))?;
            replays.entry(order).or_default().push(replay);
        }
    }
    Ok(replays)
}

/// Seconds until the scenarios started on one machine: values of all rounds of each order.
pub(super) struct Times {
    pub(super) cpus: usize,
    /// `measured`, `replayed` or `forecast`.
    pub(super) origin: &'static str,
    /// If tasks that used more than one CPU use all.
    at_least: BTreeMap<&'static str, Vec<f64>>,
    /// If no task uses more CPUs than measured.
    at_most: BTreeMap<&'static str, Vec<f64>>,
}

impl Times {
    pub(super) fn at_least(&self, order: &str) -> &[f64] {
        self.at_least.get(order).map_or(&[], Vec::as_slice)
    }

    pub(super) fn at_most(&self, order: &str) -> &[f64] {
        self.at_most.get(order).map_or(&[], Vec::as_slice)
    }
}

/// Returns the measured times on this machine with `here` CPUs, their replay, and the forecasts; none without replays.
pub(super) fn times(here: usize, replays: &Replays) -> Vec<Times> {
    if replays.is_empty() {
        return Vec::new();
    }
    let rounds = |value: &dyn Fn(&Replay) -> f64| -> BTreeMap<&'static str, Vec<f64>> {
        let orders = replays.iter();
        orders
            .map(|(order, rounds)| (*order, rounds.iter().map(value).collect()))
            .collect()
    };
    let exact = |origin, value: fn(&Replay) -> f64| Times {
        cpus: here,
        origin,
        at_least: rounds(&value),
        at_most: rounds(&value),
    };
    let forecasts = CORES.into_iter().enumerate().map(|(index, cores)| Times {
        cpus: cores as usize,
        origin: "forecast",
        at_least: rounds(&|replay| replay.forecasts[index].at_least.as_secs_f64()),
        at_most: rounds(&|replay| replay.forecasts[index].at_most.as_secs_f64()),
    });
    let here = [
        exact("measured", |replay| replay.measured),
        exact("replayed", |replay| replay.replayed),
    ];
    here.into_iter().chain(forecasts).collect()
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

/// Returns the trace of a run until its scenarios started.
fn until_scenarios(run: &Measured) -> Trace {
    let is_before = |task: &&DocumentTask| {
        !task.always && task.name != "test" && task.start.is_some_and(|start| start < run.up)
    };
    Trace {
        wall: Duration::try_from_secs_f64(run.up).unwrap_or_default(),
        resources: run.document.resources.clone(),
        tasks: run.document.tasks.iter().filter(is_before).map(task).collect(),
    }
}

fn task(task: &DocumentTask) -> TaskTrace {
    TaskTrace {
        held: None,
        // The scenarios started, so every earlier task succeeded.
        outcome: Outcome::Done { note: None },
        notes: Vec::new(),
        ..task.clone().into_trace(Duration::ZERO, str::to_owned)
    }
}
