//! The same scheduler in virtual time: the duration of a graph.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::graph::Graph;
use crate::outcome::Outcome;
use crate::plan::Task;
use crate::scheduler::{Order, Scheduler};
use crate::seconds;
use crate::trace::Trace;

/// The duration of a task in a simulated run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// From start to end, with all the CPU that it can use.
    #[serde(with = "seconds")]
    pub duration: Duration,
    /// When it reaches its milestones, from its start. A missing one is reached at the end.
    #[serde(with = "seconds::map", default)]
    pub milestones: BTreeMap<String, Duration>,
    /// The cores that it keeps busy on average. They count only when cores are limited.
    #[serde(default)]
    pub cores: f64,
}

impl Timing {
    /// The duration of the plan, and no CPU.
    pub fn estimated<A>(task: &Task<A>) -> Self {
        Self {
            duration: task.estimate,
            milestones: task.milestones.clone(),
            cores: 0.0,
        }
    }
}

impl<A> Graph<A> {
    /// Runs the graph in virtual time: the decisions are those of [`run`](Self::run), and every task succeeds.
    ///
    /// With `cores`, tasks share that many: when the running ones could use more, each gets a fair share and
    /// takes accordingly longer.
    pub fn simulate(&self, cores: Option<f64>, timing: impl Fn(&Task<A>) -> Timing) -> Trace {
        let mut world = World {
            cores,
            now: Duration::ZERO,
            flights: Vec::new(),
        };
        let mut scheduler = Scheduler::new(&self.shape, false, self.len());
        let mut orders = scheduler.begin();
        loop {
            for order in orders {
                // Nothing fails, so nothing is cancelled.
                if let Order::Start(id) = order {
                    world.start(id, timing(&self.plan().tasks[id]));
                }
            }
            orders = match world.advance() {
                None => return scheduler.into_trace(),
                Some((id, Some(milestone))) => scheduler.reached(id, &milestone, world.now),
                Some((id, None)) => scheduler.finished(id, Outcome::Done { note: None }, world.now),
            };
        }
    }
}

struct World {
    cores: Option<f64>,
    now: Duration,
    /// In the order of their start, which breaks ties.
    flights: Vec<Flight>,
}

/// A running task.
struct Flight {
    id: usize,
    /// Its completed duration.
    done: Duration,
    /// Its next event, and at which part of its duration: milestones, then (`None`) the end.
    ahead: VecDeque<(Duration, Option<String>)>,
    cores: f64,
}

impl World {
    fn start(&mut self, id: usize, timing: Timing) {
        let Timing {
            duration,
            milestones,
            cores,
        } = timing;
        let mut ahead: Vec<_> = milestones
            .into_iter()
            .map(|(name, offset)| (offset.min(duration), Some(name)))
            .collect();
        ahead.sort_by_key(|(offset, _)| *offset);
        ahead.push((duration, None));
        self.flights.push(Flight {
            id,
            done: Duration::ZERO,
            ahead: ahead.into(),
            cores,
        });
    }

    /// Advances to the next event, and returns it: a milestone or (`None`) the end of a task.
    fn advance(&mut self) -> Option<(usize, Option<String>)> {
        let rates = self.rates();
        let (wait, index) = self
            .flights
            .iter()
            .zip(&rates)
            .enumerate()
            .map(|(index, (flight, &rate))| (flight.until_next(rate), index))
            .min()?;
        self.now = self.now.saturating_add(wait);
        for (flight, &rate) in self.flights.iter_mut().zip(&rates) {
            flight.done = flight.done.saturating_add(scaled(wait, rate));
        }
        let flight = &mut self.flights[index];
        let (offset, milestone) = flight.ahead.pop_front()?;
        // Exact, whatever was lost in rounding.
        flight.done = offset;
        let id = flight.id;
        if milestone.is_none() {
            self.flights.remove(index);
        }
        Some((id, milestone))
    }

    /// The speed of each task: 1, or less when it gets less CPU than it could use. Shares are fair: a task
    /// that needs less than an equal share gets all of it, the others share the rest equally.
    fn rates(&self) -> Vec<f64> {
        let mut rates = vec![1.0; self.flights.len()];
        let Some(cores) = self.cores else { return rates };
        let mut hungry: Vec<usize> = (0..self.flights.len())
            .filter(|&index| self.flights[index].cores > 0.0)
            .collect();
        hungry.sort_by(|&a, &b| self.flights[a].cores.total_cmp(&self.flights[b].cores));
        let mut left = cores;
        for (served, &index) in hungry.iter().enumerate() {
            let wanted = self.flights[index].cores;
            let share = wanted.min(left / (hungry.len() - served) as f64);
            left -= share;
            if share < wanted {
                rates[index] = share / wanted;
            }
        }
        rates
    }
}

impl Flight {
    fn until_next(&self, rate: f64) -> Duration {
        let next = self.ahead.front().map_or(self.done, |(offset, _)| *offset);
        scaled(next.saturating_sub(self.done), 1.0 / rate)
    }
}

/// Full speed is exact, so that a simulation without contention has exactly the given times.
fn scaled(duration: Duration, factor: f64) -> Duration {
    if factor == 1.0 {
        return duration;
    }
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}
