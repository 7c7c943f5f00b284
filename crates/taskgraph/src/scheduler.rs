//! Decides what starts when. Pure: no threads and no clock, time is an argument. The real run and the simulated
//! one both drive this, so that a forecast follows the same decisions.

mod record;
mod starting;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::{Event, What};
use crate::graph::{Shape, TaskId};
use crate::outcome::{Cause, Outcome};
use crate::trace::Trace;
use record::Record;

pub(crate) struct Scheduler<'g> {
    shape: &'g Shape,
    keep_going: bool,
    max_running: usize,
    tasks: Vec<State>,
    free: Vec<u64>,
    /// Tasks with all edges satisfied: longest remaining chain first, then the order of the plan.
    ready: BTreeSet<(Reverse<Duration>, usize)>,
    running: usize,
    /// Tasks that have not ended.
    left: usize,
    orders: Vec<Order>,
}

/// The scheduler's decisions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Order {
    Start(usize),
    Cancel(usize, Cause),
    Notify(Event),
}

struct State {
    status: Status,
    /// Edges not yet satisfied.
    missing: usize,
    cancelled: bool,
    record: Record,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Pending,
    Ready,
    Running,
    Ended,
}

impl<'g> Scheduler<'g> {
    pub(crate) fn new(shape: &'g Shape, keep_going: bool, max_running: usize) -> Self {
        let tasks = shape.nodes.iter().map(|node| State {
            status: Status::Pending,
            missing: node.after.len(),
            cancelled: false,
            record: Record::default(),
        });
        Self {
            shape,
            keep_going,
            max_running: max_running.max(1),
            tasks: tasks.collect(),
            free: shape.capacities.clone(),
            ready: BTreeSet::new(),
            running: 0,
            left: shape.nodes.len(),
            orders: Vec::new(),
        }
    }

    /// Starts the tasks without edges.
    pub(crate) fn begin(&mut self) -> Vec<Order> {
        for id in 0..self.tasks.len() {
            let task = &self.tasks[id];
            if task.missing == 0 && task.status == Status::Pending && !self.shape.nodes[id].always {
                self.make_ready(id, Duration::ZERO);
            }
        }
        self.settle(Duration::ZERO, None)
    }

    /// A running task reached a milestone. Ignored when it isn't running or did so before.
    pub(crate) fn reached(&mut self, id: usize, milestone: &str, now: Duration) -> Vec<Order> {
        let task = &mut self.tasks[id];
        if task.status != Status::Running || task.record.milestones.contains_key(milestone) {
            return Vec::new();
        }
        task.record.milestones.insert(milestone.to_owned(), now);
        self.notify(now, id, What::Reached(milestone.to_owned()));
        self.release(id, now, |link_milestone| link_milestone == Some(milestone));
        self.settle(now, None)
    }

    /// A running task ended.
    pub(crate) fn finished(&mut self, id: usize, outcome: Outcome, now: Duration) -> Vec<Order> {
        if self.tasks[id].status != Status::Running {
            return Vec::new();
        }
        self.running -= 1;
        for &(resource, amount) in &self.shape.nodes[id].needs {
            self.free[resource] += amount;
        }
        let (success, failure) = (outcome.is_success(), outcome.is_failure());
        self.end(id, outcome, now);
        if success {
            let reached: Vec<String> = self.tasks[id].record.milestones.keys().cloned().collect();
            // An unreached milestone counts as reached when the task succeeds.
            self.release(id, now, |milestone| {
                milestone.is_none_or(|milestone| !reached.iter().any(|name| name == milestone))
            });
        } else if failure && !self.shape.nodes[id].always {
            self.fail(id, now);
        }
        self.settle(now, Some(id))
    }

    /// Cancels all tasks except `always` ones from outside; with `abandon` these too.
    pub(crate) fn interrupt(&mut self, cause: Cause, abandon: bool, now: Duration) -> Vec<Order> {
        for id in 0..self.tasks.len() {
            if abandon || !self.shape.nodes[id].always {
                self.stop(id, cause.clone(), now);
            }
        }
        self.settle(now, None)
    }

    /// Whether every task has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.left == 0
    }

    pub(crate) fn is_always(&self, id: usize) -> bool {
        self.shape.nodes[id].always
    }

    /// A remark or figure of a task that has not ended.
    pub(crate) fn note(&mut self, id: usize, note: String) {
        if self.tasks[id].status == Status::Running {
            self.tasks[id].record.notes.push(note);
        }
    }

    pub(crate) fn measured(&mut self, id: usize, name: String, value: f64) {
        if self.tasks[id].status == Status::Running {
            self.tasks[id].record.measured.insert(name, value);
        }
    }

    /// The outcomes of the ended tasks, in the order of the plan.
    pub(crate) fn outcomes(&self) -> Vec<(String, Outcome)> {
        let names = self.shape.nodes.iter().map(|node| &node.name);
        names
            .zip(&self.tasks)
            .filter_map(|(name, task)| Some((name.clone(), task.record.outcome.clone()?)))
            .collect()
    }

    pub(crate) fn into_trace(self) -> Trace {
        record::trace(self.shape, self.tasks.into_iter().map(|task| task.record))
    }

    fn make_ready(&mut self, id: usize, now: Duration) {
        self.tasks[id].status = Status::Ready;
        self.tasks[id].record.ready = Some(now);
        self.ready.insert((Reverse(self.shape.nodes[id].chain), id));
    }

    /// Satisfies the edges from `id` for which `counts` holds.
    fn release(&mut self, id: usize, now: Duration, counts: impl Fn(Option<&str>) -> bool) {
        let shape = self.shape;
        for link in shape.nodes[id]
            .before
            .iter()
            .filter(|link| counts(link.milestone.as_deref()))
        {
            let next = &mut self.tasks[link.task];
            next.missing -= 1;
            if next.missing == 0 && next.status == Status::Pending {
                next.record.released_by = Some((id, link.milestone.clone()));
                self.make_ready(link.task, now);
            }
        }
    }

    /// Cancels tasks that need the failed one; all others too, unless the run keeps going.
    fn fail(&mut self, failed: usize, now: Duration) {
        let name = &self.shape.nodes[failed].name;
        let dependents = self.dependents(failed);
        for (id, depends) in dependents.into_iter().enumerate() {
            if depends {
                self.stop(id, Cause::Needs { task: name.clone() }, now);
            } else if !self.keep_going && !self.shape.nodes[id].always {
                self.stop(id, Cause::Stopped { task: name.clone() }, now);
            }
        }
    }

    fn dependents(&self, of: usize) -> Vec<bool> {
        let mut depends = vec![false; self.tasks.len()];
        let mut open = vec![of];
        while let Some(id) = open.pop() {
            for link in &self.shape.nodes[id].before {
                if !std::mem::replace(&mut depends[link.task], true) {
                    open.push(link.task);
                }
            }
        }
        depends
    }

    /// Cancels a running task, once; ends one that has not started.
    fn stop(&mut self, id: usize, cause: Cause, now: Duration) {
        match self.tasks[id].status {
            Status::Ended => {}
            Status::Running => {
                if !std::mem::replace(&mut self.tasks[id].cancelled, true) {
                    self.orders.push(Order::Cancel(id, cause));
                }
            }
            Status::Pending | Status::Ready => {
                self.ready.remove(&(Reverse(self.shape.nodes[id].chain), id));
                self.end(id, Outcome::NotStarted { cause }, now);
            }
        }
    }

    fn end(&mut self, id: usize, outcome: Outcome, now: Duration) {
        self.left -= 1;
        let task = &mut self.tasks[id];
        task.status = Status::Ended;
        task.record.end = now;
        task.record.outcome = Some(outcome.clone());
        self.notify(now, id, What::Finished(outcome));
    }

    fn notify(&mut self, at: Duration, id: usize, what: What) {
        self.orders.push(Order::Notify(Event {
            at,
            task: TaskId(id),
            what,
        }));
    }

    /// Starts what can start; `ended` is the task whose end may have released it.
    fn settle(&mut self, now: Duration, ended: Option<usize>) -> Vec<Order> {
        self.start_what_fits(now, ended);
        if self.running == 0 && self.ready.is_empty() {
            self.start_next_always(now, ended);
        }
        std::mem::take(&mut self.orders)
    }

    /// When all other tasks have ended: the first `always` task that has not.
    fn start_next_always(&mut self, now: Duration, ended: Option<usize>) {
        let shape = self.shape;
        let next = (0..self.tasks.len())
            .find(|&id| shape.nodes[id].always && self.tasks[id].status == Status::Pending);
        if let Some(id) = next {
            self.tasks[id].record.ready = Some(now);
            self.tasks[id].record.after_all = ended;
            self.start(id, now);
        }
    }

    fn start(&mut self, id: usize, now: Duration) {
        for &(resource, amount) in &self.shape.nodes[id].needs {
            self.free[resource] -= amount;
        }
        self.running += 1;
        self.ready.remove(&(Reverse(self.shape.nodes[id].chain), id));
        self.tasks[id].status = Status::Running;
        self.tasks[id].record.start = Some(now);
        self.notify(now, id, What::Started);
        self.orders.push(Order::Start(id));
    }

    fn names(&self, resources: &BTreeSet<usize>) -> Vec<String> {
        resources
            .iter()
            .map(|&resource| self.shape.resource_names[resource].clone())
            .collect()
    }
}
