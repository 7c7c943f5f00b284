//! Random graphs against an obvious model.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::seconds;
use crate::{Ending, Graph, Outcome, Plan, RunOptions, Task, Timing, Trace};

/// Duration, milestone offset, needs of two resources, edges to earlier tasks: to the end or the milestone.
type Shaped = (u64, u64, [u64; 2], Vec<(usize, bool)>);

#[derive(Clone, Debug)]
struct Shape {
    tasks: Vec<Shaped>,
    capacities: [u64; 2],
    always: usize,
}

fn shapes(with_needs: bool) -> impl Strategy<Value = Shape> {
    let need = if with_needs { 0..=4_u64 } else { 0..=0 };
    let task = (
        0..20_u64,
        0..20_u64,
        [need.clone(), need],
        prop::collection::vec((any::<usize>(), any::<bool>()), 0..4),
    );
    (prop::collection::vec(task, 1..14), [4..=6_u64, 4..=6], 0..3_usize).prop_map(
        |(mut tasks, capacities, always)| {
            for (id, task) in tasks.iter_mut().enumerate() {
                task.3 = if id == 0 {
                    Vec::new()
                } else {
                    task.3.iter().map(|&(to, end)| (to % id, end)).collect()
                };
            }
            Shape {
                tasks,
                capacities,
                always,
            }
        },
    )
}

impl Shape {
    /// In reverse, so that the order of the plan implies nothing about the edges.
    fn plan(&self) -> Plan<usize> {
        let mut plan = Plan::new();
        plan.resource("r0", self.capacities[0])
            .resource("r1", self.capacities[1]);
        for (id, (duration, milestone, needs, after)) in self.tasks.iter().enumerate().rev() {
            let mut task = Task::new(format!("t{id}"), id).estimate(seconds(*duration));
            task = task.milestone("m", seconds(*milestone.min(duration)));
            task = task.needs("r0", needs[0]).needs("r1", needs[1]);
            for &(before, end) in after {
                task = if end {
                    task.after(format!("t{before}"))
                } else {
                    task.after_milestone(format!("t{before}"), "m")
                };
            }
            plan.task(task);
        }
        for id in 0..self.always {
            plan.task(
                Task::new(format!("always{id}"), usize::MAX)
                    .always()
                    .estimate(seconds(3)),
            );
        }
        plan
    }

    /// When each task starts with unlimited resources.
    fn earliest(&self) -> Vec<u64> {
        let mut start: Vec<u64> = Vec::new();
        for (_, _, _, after) in &self.tasks {
            let released = after.iter().map(|&(before, end)| {
                let (duration, milestone, ..) = self.tasks[before];
                start[before] + if end { duration } else { milestone.min(duration) }
            });
            start.push(released.max().unwrap_or(0));
        }
        start
    }

    /// Tasks that need `failed`, directly or not.
    fn dependents(&self, failed: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([failed]);
        for (id, (_, _, _, after)) in self.tasks.iter().enumerate() {
            if after.iter().any(|(before, _)| found.contains(before)) {
                found.insert(id);
            }
        }
        found.remove(&failed);
        found
    }
}

fn start(trace: &Trace, id: usize) -> Duration {
    trace.task(&format!("t{id}")).unwrap().start.unwrap()
}

fn check_edges(shape: &Shape, trace: &Trace) {
    for (id, (_, _, _, after)) in shape.tasks.iter().enumerate() {
        for &(before, end) in after {
            let before = trace.task(&format!("t{before}")).unwrap();
            let released = if end {
                before.end
            } else {
                before.milestones.get("m").copied().unwrap_or(before.end)
            };
            assert!(released <= start(trace, id), "t{id} started too early");
        }
    }
    let last = trace
        .tasks
        .iter()
        .filter(|task| !task.always)
        .map(|task| task.end)
        .max()
        .unwrap();
    let mut before = last;
    for task in trace.tasks.iter().filter(|task| task.always) {
        assert!(before <= task.start.unwrap(), "{} started too early", task.name);
        before = task.end;
    }
}

/// The held amounts at each start.
pub(super) fn check_resources(trace: &Trace) {
    for moment in trace.tasks.iter().filter_map(|task| task.start) {
        for (resource, capacity) in &trace.resources {
            let running = trace
                .tasks
                .iter()
                .filter(|task| task.start.unwrap() <= moment && moment < task.end);
            let held: u64 = running.filter_map(|task| task.needs.get(resource)).sum();
            assert!(
                held <= *capacity,
                "{held} of {capacity} {resource} held at {moment:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_contention_each_task_starts_as_early_as_its_edges_allow(shape in shapes(false)) {
        let trace = Graph::new(shape.plan()).unwrap().simulate(None, Timing::estimated);
        for (id, earliest) in shape.earliest().into_iter().enumerate() {
            prop_assert_eq!(start(&trace, id), seconds(earliest));
        }
        // Then nothing but the longest chain bounds the run.
        let chain: Duration = trace.longest_chain().unwrap().into_iter().map(|(_, cost)| cost).sum();
        prop_assert_eq!(chain, trace.wall);
    }

    #[test]
    fn with_contention_edges_and_capacities_hold_and_all_tasks_run(shape in shapes(true)) {
        let trace = Graph::new(shape.plan()).unwrap().simulate(None, Timing::estimated);
        prop_assert!(trace.is_success());
        check_edges(&shape, &trace);
        check_resources(&trace);
        // Never worse than one after the other.
        prop_assert!(trace.wall <= trace.tasks.iter().map(|task| task.duration()).sum());
    }

    #[test]
    fn bounding_chain_has_no_gaps_and_slack_is_available_time(shape in shapes(true)) {
        let trace = Graph::new(shape.plan()).unwrap().simulate(None, Timing::estimated);
        let chain = trace.bounding_chain();
        let mut at = Duration::ZERO;
        for link in &chain {
            prop_assert_eq!(link.from, at);
            at = link.to;
        }
        prop_assert_eq!(at, trace.wall);
        let slack = trace.slack();
        // A task that was held back for a more urgent one, and released by no task's end, adds its own waiting.
        let freed_by_no_task = |task: &str| {
            trace.task(task).unwrap().held.as_ref().is_some_and(|held| held.freed_by.is_none())
        };
        // The links through their end, not those that continued after a milestone, had no slack.
        for (position, pair) in chain.windows(2).enumerate() {
            let [link, next] = pair else { unreachable!() };
            let tight = !chain[position..].iter().any(|link| freed_by_no_task(&link.task));
            if trace.task(&link.task).unwrap().end == next.from && tight {
                prop_assert_eq!(slack[&link.task], Duration::ZERO, "{}", link.task);
            }
        }
        for task in &trace.tasks {
            prop_assert!(task.end + slack[&task.name] <= trace.wall);
        }
    }

    #[test]
    fn replayed_trace_takes_its_own_time(shape in shapes(true)) {
        let trace = Graph::new(shape.plan()).unwrap().simulate(None, Timing::estimated);
        let replayed = trace.replay(&trace.resources).unwrap().simulate(None, |task| task.action.clone());
        prop_assert_eq!(replayed, trace);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_threads_edges_and_capacities_hold(shape in shapes(true)) {
        let graph = Graph::new(shape.plan()).unwrap();
        let held = [AtomicU64::new(0), AtomicU64::new(0)];
        let run = graph.run(&RunOptions::default(), |_| {}, |context, &id| {
            let needs = shape.tasks.get(id).map_or([0, 0], |task| task.2);
            for (resource, need) in needs.into_iter().enumerate() {
                let now = held[resource].fetch_add(need, Ordering::SeqCst) + need;
                assert!(now <= shape.capacities[resource], "{now} of resource {resource} held");
            }
            std::thread::yield_now();
            if id != usize::MAX {
                context.reach("m")?;
            }
            for (resource, need) in needs.into_iter().enumerate() {
                held[resource].fetch_sub(need, Ordering::SeqCst);
            }
            Ok::<_, crate::UnknownMilestone>(Ending::Done)
        }).unwrap();
        prop_assert!(run.trace.is_success(), "{:?}", run.trace);
        check_edges(&shape, &run.trace);
    }

    #[test]
    fn with_keep_going_exactly_the_dependents_of_the_failed_task_do_not_succeed(shape in shapes(true), failing: usize) {
        let failing = failing % shape.tasks.len();
        let graph = Graph::new(shape.plan()).unwrap();
        let options = RunOptions { keep_going: true, ..RunOptions::default() };
        let run = graph.run(&options, |_| {}, |_, &id| {
            if id == failing { Err("broken") } else { Ok(Ending::Done) }
        }).unwrap();
        let needed = shape.dependents(failing);
        for id in 0..shape.tasks.len() {
            let outcome = &run.trace.task(&format!("t{id}")).unwrap().outcome;
            if id == failing {
                prop_assert!(outcome.is_failure());
            } else if needed.contains(&id) {
                // No milestone was reached, so none of these can have started.
                prop_assert!(matches!(outcome, Outcome::NotStarted { .. }), "t{}: {:?}", id, outcome);
            } else {
                prop_assert!(outcome.is_success(), "t{}: {:?}", id, outcome);
            }
        }
        prop_assert!(run.trace.tasks.iter().filter(|task| task.always).all(|task| task.outcome.is_success()));
    }
}
