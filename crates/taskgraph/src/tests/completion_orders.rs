use std::collections::BTreeSet;

use super::stage::{Stage, all_graphs};
use crate::{Graph, Plan, RunOptions, Task};

fn graph(after: &[BTreeSet<usize>]) -> Graph<String> {
    let mut plan = Plan::new();
    for (id, after) in after.iter().enumerate() {
        plan.task(
            Task::new(format!("t{id}"), format!("t{id}")).after_all(after.iter().map(|id| format!("t{id}"))),
        );
    }
    Graph::new(plan).unwrap()
}

/// Tasks that may run when `done` have ended.
fn startable(after: &[BTreeSet<usize>], done: &BTreeSet<usize>) -> BTreeSet<usize> {
    (0..after.len())
        .filter(|id| !done.contains(id) && after[*id].is_subset(done))
        .collect()
}

/// All orders in which the tasks can end.
fn orders(after: &[BTreeSet<usize>], done: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
    if done.len() == after.len() {
        found.push(done.clone());
    }
    for next in startable(after, &done.iter().copied().collect()) {
        done.push(next);
        orders(after, done, found);
        done.pop();
    }
}

/// Plays one order of completion: after each end exactly the tasks of the model start.
fn play(after: &[BTreeSet<usize>], order: &[usize]) {
    let graph = graph(after);
    let run = Stage::play(&graph, &RunOptions::default(), |stage| {
        let mut done = BTreeSet::new();
        let mut started = BTreeSet::new();
        for &next in order {
            let new: Vec<usize> = startable(after, &done).difference(&started).copied().collect();
            let names: Vec<String> = new.iter().map(|id| format!("t{id}")).collect();
            stage.started(&names.iter().map(String::as_str).collect::<Vec<_>>());
            started.extend(new);
            stage.succeed(&format!("t{next}"));
            done.insert(next);
        }
    });
    assert!(
        run.trace.is_success(),
        "{after:?} in order {order:?}: {:?}",
        run.trace
    );
    for (task, after) in run.trace.tasks.iter().zip(after) {
        for &before in after {
            assert!(run.trace.tasks[before].end <= task.start.unwrap());
        }
    }
}

#[test]
fn graphs_of_three_tasks_follow_their_edges_in_every_completion_order() {
    let mut played = 0;
    for after in all_graphs(3) {
        let mut found = Vec::new();
        orders(&after, &mut Vec::new(), &mut found);
        for order in found {
            play(&after, &order);
            played += 1;
        }
    }
    // No edge 6, one edge 3 · 3, two edges 2 + 2 + 1, three edges 1.
    assert_eq!(played, 21);
}

#[test]
fn shapes_of_four_tasks_follow_their_edges_in_every_completion_order() {
    let sets = |after: [&[usize]; 4]| after.map(|ids| ids.iter().copied().collect::<BTreeSet<usize>>());
    let diamond = sets([&[], &[0], &[0], &[1, 2]]);
    let independent = sets([&[], &[], &[], &[]]);
    let crossed = sets([&[], &[], &[0, 1], &[0, 1]]);
    let hooked = sets([&[], &[], &[0], &[0, 1]]);
    let mut counts = Vec::new();
    for after in [diamond, independent, crossed, hooked] {
        let mut found = Vec::new();
        orders(&after, &mut Vec::new(), &mut found);
        counts.push(found.len());
        found.iter().for_each(|order| play(&after, order));
    }
    assert_eq!(counts, [2, 24, 4, 5]);
}

#[test]
fn tasks_without_edges_all_run_concurrently() {
    // More than there are CPUs: each waits for all the others.
    let mut plan = Plan::new();
    for id in 0..50 {
        plan.task(Task::new(format!("t{id}"), ()));
    }
    let graph = Graph::new(plan).unwrap();
    let barrier = std::sync::Barrier::new(50);
    let run = graph.run(
        &RunOptions::default(),
        |_| {},
        |_, ()| {
            barrier.wait();
            Ok::<_, crate::TaskError>(crate::Ending::Done)
        },
    );
    assert!(run.unwrap().trace.is_success());
}

#[test]
fn with_one_thread_one_task_runs_at_a_time() {
    let graph = Graph::new(super::plan(&["a", "b", "c"])).unwrap();
    let run = Stage::play(
        &graph,
        &RunOptions {
            threads: Some(1),
            ..RunOptions::default()
        },
        |stage| {
            for task in ["a", "b", "c"] {
                stage.started(&[task]);
                stage.succeed(task);
            }
        },
    );
    let [a, b, c] = &run.trace.tasks[..] else {
        panic!("three tasks")
    };
    assert!(a.end <= b.start.unwrap() && b.end <= c.start.unwrap());
    assert_eq!(b.held.as_ref().unwrap().resources, Vec::<String>::new());
    assert_eq!(c.held.as_ref().unwrap().freed_by.as_deref(), Some("b"));
}
