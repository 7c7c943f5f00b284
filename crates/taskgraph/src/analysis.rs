//! Analysis of a run: bounding chain, slack, and hypothetical durations.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::graph::{Graph, PlanErrors};
use crate::plan::{Edge, Plan, Task};
use crate::seconds;
use crate::simulate::Timing;
use crate::trace::{TaskTrace, Trace};

/// One link of the chain that bounded a run. The links follow each other without a gap, from the beginning of
/// the run to its end, so their costs add up to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChainLink {
    /// Name of the task.
    pub task: String,
    /// When the previous link released it: its own waiting is part of its cost.
    #[serde(with = "seconds")]
    pub from: Duration,
    /// When it released the next link: at its end or at a milestone.
    #[serde(with = "seconds")]
    pub to: Duration,
    /// How the previous link released it.
    pub through: Through,
}

/// How one link of a chain released the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Through {
    /// It is the first.
    Beginning,
    /// By the end, or a milestone, for which it waited.
    Edge {
        /// The edge that was satisfied last.
        edge: Edge,
    },
    /// By releasing resources.
    Resource {
        /// The resources.
        resources: Vec<String>,
        /// The task that held them.
        freed_by: String,
    },
}

/// The duration of a run if one of its tasks took no time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IfFree {
    /// The task.
    pub task: String,
    /// What it cost in the chain that bounded the run.
    #[serde(with = "seconds")]
    pub cost: Duration,
    /// The hypothetical duration of the run.
    #[serde(with = "seconds")]
    pub wall: Duration,
}

impl ChainLink {
    /// Cost of the link in the run.
    pub fn cost(&self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

impl Trace {
    /// The chain that bounded the run: backwards from its last task, each time to the edge or resource that was
    /// waited for last. First link first.
    pub fn bounding_chain(&self) -> Vec<ChainLink> {
        let mut links: Vec<ChainLink> = Vec::new();
        let mut next = self
            .started()
            .max_by_key(|task| task.end)
            .map(|task| (task, task.end));
        while let Some((task, to)) = next
            // A trace read from a file may contain a cycle; a recorded one cannot.
            && links.len() < self.tasks.len()
        {
            let (through, before) = self.before(task);
            let from = before.map_or(Duration::ZERO, |(_, at)| at);
            links.push(ChainLink {
                task: task.name.clone(),
                from,
                to,
                through,
            });
            next = before;
        }
        links.reverse();
        links
    }

    /// How much longer each started task could have taken without delaying the run, by the edges and resource
    /// handovers of this run.
    pub fn slack(&self) -> BTreeMap<String, Duration> {
        let started: Vec<&TaskTrace> = self.started().collect();
        let at_end = started
            .iter()
            .filter(|task| task.always)
            .filter_map(|task| task.start)
            .min();
        let mut latest: BTreeMap<&str, Duration> = started
            .iter()
            .map(|task| {
                (
                    task.name.as_str(),
                    if task.always {
                        self.wall
                    } else {
                        at_end.unwrap_or(self.wall)
                    },
                )
            })
            .collect();
        // Backwards until nothing changes: at most once per link of a chain.
        for _ in 0..started.len() {
            let before = latest.clone();
            for task in &started {
                let latest_start = latest[task.name.as_str()].saturating_sub(task.duration());
                for (name, rest) in self.predecessors(task) {
                    if let Some(end) = latest.get_mut(name) {
                        *end = (*end).min(latest_start.saturating_add(rest));
                    }
                }
            }
            if latest == before {
                break;
            }
        }
        started
            .iter()
            .map(|task| {
                (
                    task.name.clone(),
                    latest[task.name.as_str()].saturating_sub(task.end),
                )
            })
            .collect()
    }

    /// The longest chain of measured durations along the edges alone: no additional capacity makes the run
    /// shorter than this. `always` tasks come after it, in their order.
    ///
    /// # Errors
    /// The trace is inconsistent: its edges form no graph.
    pub fn longest_chain(&self) -> Result<Vec<(String, Duration)>, PlanErrors> {
        let mut plan = self.plan(&self.resources);
        for task in &mut plan.tasks {
            task.estimate = task.action.duration;
            task.milestones = task.action.milestones.clone();
        }
        let always: Vec<_> = plan
            .tasks
            .iter()
            .filter(|task| task.always)
            .map(|task| (task.name.clone(), task.estimate))
            .collect();
        plan.tasks.retain(|task| !task.always);
        let graph = Graph::new(plan)?;
        let chain = graph.longest_chain();
        Ok(chain
            .into_iter()
            .map(|(id, cost)| (graph.task(id).name.clone(), cost))
            .chain(always)
            .collect())
    }

    /// The started tasks with their durations, as a graph that can be
    /// [simulated](Graph::simulate) with other capacities. Needs beyond a capacity are reduced to it. The
    /// estimates stay those of the plan, so the decisions are the same.
    ///
    /// # Errors
    /// The trace is inconsistent: its edges form no graph.
    pub fn replay(&self, resources: &BTreeMap<String, u64>) -> Result<Graph<Timing>, PlanErrors> {
        Graph::new(self.plan(resources))
    }

    /// The duration of the run if the most expensive link of its [bounding chain](Self::bounding_chain)
    /// took no time: replayed by the same scheduler. `None` when nothing ran.
    ///
    /// # Errors
    /// The trace is inconsistent: its edges form no graph.
    pub fn if_longest_were_free(&self) -> Result<Option<IfFree>, PlanErrors> {
        let Some(longest) = self.bounding_chain().into_iter().max_by_key(ChainLink::cost) else {
            return Ok(None);
        };
        let graph = self.replay(&self.resources)?;
        let same = graph.simulate(None, |task| task.action.clone()).wall;
        let without = graph.simulate(None, |task| {
            if task.name == longest.task {
                Timing::default()
            } else {
                task.action.clone()
            }
        });
        // Time that the replay does not model (the starting of threads) stays.
        let wall = without
            .wall
            .saturating_add(self.wall.saturating_sub(same))
            .min(self.wall);
        Ok(Some(IfFree {
            cost: longest.cost(),
            task: longest.task,
            wall,
        }))
    }

    fn started(&self) -> impl Iterator<Item = &TaskTrace> {
        self.tasks.iter().filter(|task| task.start.is_some())
    }

    /// What a task waited for last, and when that released it.
    fn before(&self, task: &TaskTrace) -> (Through, Option<(&TaskTrace, Duration)>) {
        if let Some(held) = &task.held
            && let Some(freed_by) = &held.freed_by
            && let Some(before) = self.task(freed_by)
        {
            let through = Through::Resource {
                resources: held.resources.clone(),
                freed_by: freed_by.clone(),
            };
            return (through, Some((before, before.end)));
        }
        if let Some(edge) = &task.released_by
            && let Some(before) = self.task(&edge.task)
        {
            return (
                Through::Edge { edge: edge.clone() },
                Some((before, before.reached(edge))),
            );
        }
        (Through::Beginning, None)
    }

    /// The conditions of this task's start, each with how long that task still ran afterwards.
    fn predecessors<'t>(&'t self, task: &'t TaskTrace) -> impl Iterator<Item = (&'t str, Duration)> {
        let edges = task
            .after
            .iter()
            .chain(task.released_by.as_ref())
            .filter_map(|edge| {
                let before = self.task(&edge.task)?;
                Some((
                    edge.task.as_str(),
                    before.end.saturating_sub(before.reached(edge)),
                ))
            });
        let freed_by = task.held.as_ref().and_then(|held| held.freed_by.as_deref());
        edges.chain(freed_by.map(|name| (name, Duration::ZERO)))
    }

    fn plan(&self, resources: &BTreeMap<String, u64>) -> Plan<Timing> {
        let is_started = |name: &str| self.task(name).is_some_and(|task| task.start.is_some());
        let mut plan = Plan {
            resources: resources.clone(),
            tasks: Vec::new(),
        };
        for traced in self.started() {
            let mut task = Task::new(traced.name.clone(), traced.timing()).estimate(traced.estimate);
            task.after = traced
                .after
                .iter()
                .filter(|edge| is_started(&edge.task))
                .cloned()
                .collect();
            task.needs = traced
                .needs
                .iter()
                .filter_map(|(name, amount)| Some((name.clone(), *amount.min(resources.get(name)?))))
                .collect();
            task.always = traced.always;
            plan.tasks.push(task);
        }
        // The milestones with waiting tasks, reached or not.
        let waited_for: Vec<Edge> = plan.tasks.iter().flat_map(|task| task.after.clone()).collect();
        for task in &mut plan.tasks {
            let names = waited_for
                .iter()
                .filter(|edge| edge.task == task.name)
                .filter_map(|edge| edge.milestone.clone());
            let offset = |name: &String| {
                task.action
                    .milestones
                    .get(name)
                    .copied()
                    .unwrap_or(task.action.duration)
            };
            task.milestones = names.map(|name| (name.clone(), offset(&name))).collect();
        }
        plan
    }
}

impl TaskTrace {
    /// When the condition of the edge was met in this task.
    fn reached(&self, edge: &Edge) -> Duration {
        let milestone = edge.milestone.as_ref().and_then(|name| self.milestones.get(name));
        milestone.copied().unwrap_or(self.end)
    }

    /// The times that it took.
    fn timing(&self) -> Timing {
        let start = self.start.unwrap_or_default();
        let offset = |(name, at): (&String, &Duration)| (name.clone(), at.saturating_sub(start));
        let duration = self.duration();
        let cpu = self
            .measured
            .get("cpu_seconds")
            .copied()
            .filter(|cpu| cpu.is_finite())
            .unwrap_or_default()
            .max(0.0);
        let cores = if duration.is_zero() {
            0.0
        } else {
            cpu / duration.as_secs_f64()
        };
        Timing {
            duration,
            milestones: self.milestones.iter().map(offset).collect(),
            cores,
        }
    }
}
