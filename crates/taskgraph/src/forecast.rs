//! Forecasts of a measured run on another machine.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::graph::{Graph, PlanErrors};
use crate::seconds;
use crate::simulate::Timing;
use crate::trace::Trace;

/// Number of corrections after which the replay does not improve any more.
const CORRECTIONS: usize = 50;

/// Seconds below which a correction of a task's duration is irrelevant.
const CLOSE_ENOUGH: f64 = 0.001;

/// A measured run as a model: how long each task would take with all the CPU that it can use, found by
/// replaying the run until the replay has the measured durations.
///
/// The CPU of a task is its figure `cpu_seconds` (see [`Context::measured`](crate::Context::measured)). A task without
/// one is assumed to wait all its time, and so its speed never changes.
#[derive(Clone, Debug)]
pub struct Model {
    trace: Trace,
    cores: f64,
    timings: BTreeMap<String, Timing>,
}

/// The forecast of a run on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The machine's cores.
    pub cores: f64,
    /// If each task keeps as many cores busy as measured: more cores only reduce contention.
    #[serde(with = "seconds")]
    pub at_most: Duration,
    /// If the tasks that kept more than one core busy keep more of them busy where there are more, as far as
    /// their sequential part allows (Amdahl's law).
    #[serde(with = "seconds")]
    pub at_least: Duration,
}

impl Trace {
    /// Creates a model of a run that was measured on a machine with this many cores.
    ///
    /// # Errors
    /// The trace is inconsistent: its edges form no graph.
    pub fn model(&self, cores: f64) -> Result<Model, PlanErrors> {
        let graph = self.replay(&self.resources)?;
        // A figure beyond the machine's capacity was not measured on it.
        let timing = |timing: &Timing| Timing {
            cores: timing.cores.min(cores),
            ..timing.clone()
        };
        let measured: BTreeMap<String, Timing> = graph
            .plan()
            .tasks
            .iter()
            .map(|task| (task.name.clone(), timing(&task.action)))
            .collect();
        let mut model = Model {
            trace: self.clone(),
            cores,
            timings: measured.clone(),
        };
        for _ in 0..CORRECTIONS {
            let replayed = model.run(&graph, cores, |timing| timing);
            let mut missed: f64 = 0.0;
            for (name, timing) in &mut model.timings {
                let Some(task) = replayed.task(name) else { continue };
                let before = timing.duration;
                timing.correct(&measured[name], task.duration(), cores);
                missed = missed.max(timing.duration.abs_diff(before).as_secs_f64());
            }
            if missed < CLOSE_ENOUGH {
                break;
            }
        }
        Ok(model)
    }
}

impl Model {
    /// The same work with the edges, needs and estimates of another run: the duration of this model's tasks in
    /// that order. A task that only the other run has keeps its duration there.
    ///
    /// Where one task ran at a time, its undisturbed duration and CPU time are known, including processes that
    /// are not its children; a model of such a run forecasts orders in which tasks share the machine.
    #[must_use]
    pub fn in_order_of(&self, other: &Trace) -> Self {
        Self {
            trace: other.clone(),
            ..self.clone()
        }
    }

    /// The duration of the replay on the machine of the measurement: its deviation from the measured one limits
    /// the trust in any forecast.
    ///
    /// # Errors
    /// As [`Trace::model`].
    pub fn check(&self) -> Result<Duration, PlanErrors> {
        let graph = self.trace.replay(&self.trace.resources)?;
        Ok(self.run(&graph, self.cores, |timing| timing).wall)
    }

    /// The duration of the run with this many cores, and these capacities of the other resources.
    ///
    /// # Errors
    /// As [`Trace::model`].
    pub fn forecast(&self, cores: f64, resources: &BTreeMap<String, u64>) -> Result<Forecast, PlanErrors> {
        let graph = self.trace.replay(resources)?;
        let one = self.run(&graph, cores, |timing| timing).wall;
        let other = self
            .run(&graph, cores, |timing| timing.on(self.cores, cores))
            .wall;
        // With fewer cores than measured, scaling is the slower of the two.
        Ok(Forecast {
            cores,
            at_most: one.max(other),
            at_least: one.min(other),
        })
    }

    fn run(&self, graph: &Graph<Timing>, cores: f64, on: impl Fn(Timing) -> Timing) -> Trace {
        graph.simulate(Some(cores), |task| {
            on(self.timings.get(&task.name).unwrap_or(&task.action).clone())
        })
    }
}

impl Timing {
    /// Corrects the undisturbed duration by the error of the replay. The CPU time stays.
    fn correct(&mut self, measured: &Timing, replayed: Duration, cores: f64) {
        let (goal, found) = (measured.duration.as_secs_f64(), replayed.as_secs_f64());
        if goal <= 0.0 || found <= 0.0 || measured.cores <= 0.0 {
            return;
        }
        let cpu = measured.cores * goal;
        // It cannot have kept more cores busy than there are, nor been slower undisturbed.
        let duration = (self.duration.as_secs_f64() * goal / found).clamp((cpu / cores).min(goal), goal);
        *self = measured.scaled(duration / goal);
        self.cores = cpu / duration;
    }

    /// The same work on a machine with other cores. The parallel part of the CPU time is chosen so that
    /// duration and CPU time agree; the rest, and the waiting, keeps its duration.
    fn on(self, measured: f64, cores: f64) -> Timing {
        let duration = self.duration.as_secs_f64();
        let cpu = self.cores * duration;
        if cpu <= duration || measured <= 1.0 || cores <= 0.0 {
            return self;
        }
        let parallel = ((cpu - duration) * measured / (measured - 1.0)).min(cpu);
        let there = duration - parallel / measured + parallel / cores;
        Timing {
            cores: cpu / there,
            ..self.scaled(there / duration)
        }
    }

    fn scaled(&self, factor: f64) -> Timing {
        let scaled = |duration: &Duration| {
            Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or_default()
        };
        Timing {
            duration: scaled(&self.duration),
            milestones: self
                .milestones
                .iter()
                .map(|(name, offset)| (name.clone(), scaled(offset)))
                .collect(),
            cores: self.cores,
        }
    }
}
