use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::random_graphs::check_resources;
use super::{DEADLINE, seconds};
use crate::clock::Clock;
use crate::{Ending, Graph, Plan, RunOptions, Task, TaskError, Timing, Trace, What};

/// A stack like the product's: a compile on all slots, a cluster with a milestone, images, loads, services.
fn stack() -> Plan<()> {
    let mut plan = Plan::new();
    plan.resource("cpu", 2).resource("memory", 100);
    let task = |name: &str, estimate: u64| Task::new(name, ()).estimate(seconds(estimate));
    plan.task(task("compile", 40).needs("cpu", 2).needs("memory", 60))
        .task(
            task("cluster", 25)
                .needs("memory", 30)
                .milestone("begun", seconds(3)),
        )
        .task(task("node", 2).after_milestone("cluster", "begun"))
        .task(task("pull:a", 11).needs("cpu", 1))
        .task(task("pull:b", 7).needs("cpu", 1))
        .task(
            task("image:gateway", 5)
                .after("compile")
                .needs("cpu", 1)
                .needs("memory", 50),
        )
        .task(
            task("image:datastorage", 6)
                .after("compile")
                .needs("cpu", 1)
                .needs("memory", 60),
        )
        .task(task("load:a", 4).after("pull:a").after("node"))
        .task(task("load:gateway", 3).after("image:gateway").after("node"))
        .task(
            task("load:datastorage", 3)
                .after("image:datastorage")
                .after("node"),
        )
        .task(task("postgresql", 8).after("cluster").after("load:a"))
        .task(
            task("datastorage", 2)
                .after("postgresql")
                .after("load:datastorage"),
        )
        .task(task("gateway", 2).after("datastorage").after("load:gateway"))
        .task(task("test", 12).after("gateway"))
        .task(task("teardown", 1).always());
    plan
}

/// A clock that stops while any task works. Tasks sleep by it; it advances when all running ones are asleep.
#[derive(Default)]
struct Sleepers(Mutex<Vec<(Duration, Sender<()>)>>);

impl Sleepers {
    fn sleep(&self, until: Duration) -> Result<(), RecvTimeoutError> {
        let (wake, awake) = channel();
        self.0.lock().unwrap().push((until, wake));
        awake.recv_timeout(DEADLINE)
    }

    fn wait_for(&self, count: usize) {
        let begun = Instant::now();
        while self.0.lock().unwrap().len() != count {
            assert!(
                begun.elapsed() < DEADLINE,
                "{} instead of {count} tasks sleep",
                self.0.lock().unwrap().len()
            );
            std::thread::yield_now();
        }
    }

    /// Advances the clock to the first sleeper's time, and wakes it.
    fn wake_first(&self, now: &Mutex<Duration>) {
        let mut sleepers = self.0.lock().unwrap();
        sleepers.sort_by_key(|(until, _)| *until);
        let (until, wake) = sleepers.remove(0);
        *now.lock().unwrap() = until;
        wake.send(()).unwrap();
    }
}

/// The number of events of the expected run at each time, and of running tasks after it.
fn steps(expected: &Trace) -> Vec<(usize, usize)> {
    let mut events: BTreeMap<Duration, (usize, isize)> = BTreeMap::new();
    for task in &expected.tasks {
        let mut event = |at: Duration, running: isize| {
            let step = events.entry(at).or_default();
            *step = (step.0 + 1, step.1 + running);
        };
        event(task.start.unwrap(), 1);
        event(task.end, -1);
        task.milestones.values().for_each(|at| event(*at, 0));
    }
    let mut running = 0;
    events
        .into_values()
        .map(|(count, change)| {
            running += change;
            (count, running.try_into().unwrap())
        })
        .collect()
}

fn run_by_virtual_clock(
    graph: &Graph<()>,
    durations: &BTreeMap<String, Duration>,
    expected: &Trace,
) -> Trace {
    let now = Arc::new(Mutex::new(Duration::ZERO));
    let clock = Clock::Moved(now.clone());
    let sleepers = Sleepers::default();
    let (seen, events) = channel();
    let steps = steps(expected);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let events = events;
            for (step, (count, running)) in steps.iter().enumerate() {
                if step > 0 {
                    sleepers.wake_first(&now);
                }
                for missing in (1..=*count).rev() {
                    let event = events.recv_timeout(DEADLINE);
                    event.unwrap_or_else(|_| panic!("{missing} of {count} events missing in step {step}"));
                }
                sleepers.wait_for(*running);
            }
        });
        let run = graph.run_by(
            &clock,
            &RunOptions::default(),
            |event| {
                if !matches!(event.what, What::Waiting { .. }) {
                    // After a failure of the driving thread its message is the relevant one.
                    let _ = seen.send(());
                }
            },
            |context, ()| -> Result<Ending, TaskError> {
                let start = clock.now();
                let task = graph.task(graph.id(context.name()).unwrap());
                for (milestone, offset) in &task.milestones {
                    sleepers.sleep(start + *offset)?;
                    context.reach(milestone)?;
                }
                sleepers.sleep(start + durations[context.name()])?;
                Ok(Ending::Done)
            },
        );
        run.unwrap().trace
    })
}

#[test]
fn simulated_run_equals_the_threads_by_the_same_clock() {
    let graph = Graph::new(stack()).unwrap();
    // Durations that differ from the estimates, and no two events at the same time.
    let durations: BTreeMap<String, Duration> = graph
        .plan()
        .tasks
        .iter()
        .enumerate()
        .map(|(position, task)| {
            (
                task.name.clone(),
                task.estimate + Duration::from_millis(137 * (position as u64 + 1)),
            )
        })
        .collect();
    let simulated = graph.simulate(None, |task| Timing {
        duration: durations[&task.name],
        milestones: task.milestones.clone(),
        cores: 0.0,
    });
    assert_eq!(run_by_virtual_clock(&graph, &durations, &simulated), simulated);
}

#[test]
fn nothing_starts_before_its_condition_even_if_messages_overtake_each_other() {
    let mut plan = Plan::new();
    plan.task(Task::new("a", ()))
        .task(Task::new("b", ()))
        .task(Task::new("c", ()).after_all(["a", "b"]));
    let graph = Graph::new(plan).unwrap();
    let now = Arc::new(Mutex::new(Duration::ZERO));
    let (a_ended, resume) = channel();
    let resume = Mutex::new(resume);
    let set = |to| *now.lock().unwrap() = seconds(to);
    let run = graph.run_by(
        &Clock::Moved(now.clone()),
        &RunOptions::default(),
        |event| {
            if matches!(event.what, What::Finished(_)) && event.task == graph.id("a").unwrap() {
                a_ended.send(()).unwrap();
            }
        },
        |context, ()| -> Result<Ending, TaskError> {
            match context.name() {
                "a" => set(5),
                "b" => {
                    resume.lock().unwrap().recv_timeout(DEADLINE)?;
                    // As if it had read the clock before `a`.
                    set(4);
                }
                _ => {}
            }
            Ok(Ending::Done)
        },
    );
    let trace = run.unwrap().trace;
    assert_eq!(trace.task("a").unwrap().end, seconds(5));
    assert_eq!(trace.task("c").unwrap().start, Some(seconds(5)));
}

#[test]
fn more_capacity_is_used() {
    let graph = Graph::new(stack()).unwrap();
    let trace = graph.simulate(None, Timing::estimated);
    let larger = BTreeMap::from([("cpu".to_owned(), 8), ("memory".to_owned(), 1000)]);
    let replayed = trace
        .replay(&larger)
        .unwrap()
        .simulate(None, |task| task.action.clone());
    // Both images at a time, and pulls beside the compile.
    assert!(
        replayed.wall < trace.wall,
        "{:?} against {:?}",
        replayed.wall,
        trace.wall
    );
    let chain: Duration = replayed
        .longest_chain()
        .unwrap()
        .iter()
        .map(|(_, cost)| *cost)
        .sum();
    assert_eq!(replayed.wall, chain);
}

#[test]
fn needs_beyond_a_smaller_capacity_are_reduced_to_it() {
    let trace = Graph::new(stack()).unwrap().simulate(None, Timing::estimated);
    let small = BTreeMap::from([("cpu".to_owned(), 1), ("memory".to_owned(), 1000)]);
    let replayed = trace
        .replay(&small)
        .unwrap()
        .simulate(None, |task| task.action.clone());
    assert_eq!(replayed.task("compile").unwrap().needs["cpu"], 1);
    // One at a time of those that need a CPU.
    let busy: Duration = replayed
        .tasks
        .iter()
        .filter(|task| !task.needs.is_empty() && task.name != "cluster")
        .map(|task| task.duration())
        .sum();
    assert_eq!(busy, seconds(40 + 11 + 7 + 5 + 6));
    check_resources(&replayed);
}

#[test]
fn tasks_share_the_cores_fairly() {
    let mut plan = Plan::new();
    plan.task(Task::new("busy", 2.0))
        .task(Task::new("half", 0.5))
        .task(Task::new("idle", 0.0));
    let graph = Graph::new(plan).unwrap();
    let timing = |task: &Task<f64>| Timing {
        duration: seconds(10),
        cores: task.action,
        ..Timing::default()
    };
    let ends = |cores| -> Vec<f64> {
        graph
            .simulate(cores, timing)
            .tasks
            .iter()
            .map(|task| task.end.as_secs_f64())
            .collect()
    };
    assert_eq!(ends(None), [10.0, 10.0, 10.0]);
    assert_eq!(ends(Some(2.5)), [10.0, 10.0, 10.0]);
    // `half` needs less than an equal share and gets all of it; `busy` gets 1.5 of 2 for 10 s, then 2 of 2: 7.5 s of its
    // work are done by 10 s, 2.5 s remain.
    let [busy, half, idle] = ends(Some(2.0))[..] else {
        panic!("three tasks")
    };
    assert!((busy - 12.5).abs() < 1e-6, "{busy}");
    assert!(
        (half - 10.0).abs() < 1e-6 && (idle - 10.0).abs() < 1e-6,
        "{half} {idle}"
    );
}

#[test]
fn trace_survives_a_file() {
    let trace = Graph::new(stack()).unwrap().simulate(None, Timing::estimated);
    let text = serde_json::to_string(&trace).unwrap();
    assert_eq!(serde_json::from_str::<Trace>(&text).unwrap(), trace);
}
