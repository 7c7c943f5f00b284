use super::stage::{Cue, Stage};
use super::{plan, seconds, words};
use crate::{Ending, Graph, Plan, RunOptions, Task, TaskError, Through};

fn with_ends() -> Plan<String> {
    let mut plan = plan(&["collect", "a", "b:a", "teardown"]);
    plan.tasks[0].always = true;
    plan.tasks[3].always = true;
    plan
}

#[test]
fn always_tasks_run_last_and_in_order_after_success() {
    let graph = Graph::new(with_ends()).unwrap();
    let run = Stage::play(&graph, &RunOptions::default(), |stage| {
        for task in ["a", "b", "collect", "teardown"] {
            stage.started(&[task]);
            stage.succeed(task);
        }
    });
    assert!(run.trace.is_success());
    let chain: Vec<_> = run
        .trace
        .bounding_chain()
        .into_iter()
        .map(|link| link.task)
        .collect();
    assert_eq!(chain, ["a", "b", "collect", "teardown"]);
}

#[test]
fn always_tasks_run_after_a_failure_and_after_one_of_their_own() {
    let graph = Graph::new(with_ends()).unwrap();
    let run = Stage::play(&graph, &RunOptions::default(), |stage| {
        stage.started(&["a"]);
        stage.cue("a", Cue::Fail("broken"));
        stage.started(&["collect"]);
        stage.cue("collect", Cue::Fail("nothing to collect"));
        stage.started(&["teardown"]);
        stage.succeed("teardown");
    });
    assert_eq!(
        words(&run.trace),
        [
            ("collect", "failed"),
            ("a", "failed"),
            ("b", "not started"),
            ("teardown", "done")
        ]
    );
    // The first failure is the run's, not that of collecting.
    assert_eq!(run.failures[0].task, "a");
}

#[test]
fn always_task_waits_for_tasks_that_are_still_stopping() {
    let mut plan = plan(&["a", "slow", "teardown"]);
    plan.tasks[2].always = true;
    let graph = Graph::new(plan).unwrap();
    let run = Stage::play(&graph, &RunOptions::default(), |stage| {
        stage.started(&["a", "slow"]);
        stage.cue("a", Cue::Fail("broken"));
        stage.stopped(&["slow"]);
        stage.started(&["teardown"]);
        stage.succeed("teardown");
    });
    let [_, slow, teardown] = &run.trace.tasks[..] else {
        panic!("three tasks")
    };
    assert!(slow.end <= teardown.start.unwrap());
}

#[test]
fn always_task_gets_the_outcomes_of_the_others() {
    let graph = Graph::new(with_ends()).unwrap();
    let run = graph.run(
        &RunOptions::default(),
        |_| {},
        |context, name| -> Result<Ending, TaskError> {
            let ended: Vec<_> = context
                .outcomes()
                .iter()
                .map(|(name, end)| (name.as_str(), end.word()))
                .collect();
            match name.as_str() {
                "a" => return Err("broken".into()),
                "collect" => assert_eq!(ended, [("a", "failed"), ("b", "not started")]),
                "teardown" => assert_eq!(
                    ended,
                    [("collect", "done"), ("a", "failed"), ("b", "not started")]
                ),
                _ => assert!(ended.is_empty()),
            }
            Ok(Ending::Done)
        },
    );
    assert_eq!(run.unwrap().failures.len(), 1);
}

#[test]
fn plan_of_always_tasks_only_runs_them() {
    let mut plan = Plan::new();
    plan.task(Task::new("one", ()).always().estimate(seconds(2)));
    plan.task(Task::new("two", ()).always().estimate(seconds(3)));
    let trace = Graph::new(plan).unwrap().simulate(None, crate::Timing::estimated);
    assert_eq!(trace.wall, seconds(5));
    assert_eq!(trace.bounding_chain()[0].through, Through::Beginning);
}

#[test]
fn empty_plan_ends_at_once() {
    let graph = Graph::new(Plan::<()>::new()).unwrap();
    let run = graph
        .run(
            &RunOptions::default(),
            |_| {},
            |_, ()| Ok::<_, TaskError>(Ending::Done),
        )
        .unwrap();
    assert_eq!((run.trace.wall, run.trace.tasks.len()), (seconds(0), 0));
    assert_eq!(run.trace.bounding_chain(), []);
    assert_eq!(run.trace.if_longest_were_free().unwrap(), None);
}
