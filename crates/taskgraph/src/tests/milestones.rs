use super::stage::{Cue, Stage};
use super::{outcome, plan, seconds, words};
use crate::{Cause, Edge, Graph, Outcome, Plan, RunOptions, Task};

/// cluster (begun) -> node -> load; cluster -> base.
fn cluster() -> Plan<String> {
    let mut plan = plan(&["cluster", "base:cluster"]);
    plan.tasks[0].milestones.insert("begun".to_owned(), seconds(2));
    plan.task(Task::new("node", "node".to_owned()).after_milestone("cluster", "begun"));
    plan.task(Task::new("load", "load".to_owned()).after("node"));
    plan
}

#[test]
fn milestone_releases_others_while_its_task_continues() {
    let graph = Graph::new(cluster()).unwrap();
    let run = Stage::play(&graph, &RunOptions::default(), |stage| {
        stage.started(&["cluster"]);
        stage.cue("cluster", Cue::Reach("begun"));
        stage.started(&["node"]);
        // A repeated call has no effect.
        stage.cue("cluster", Cue::Reach("begun"));
        stage.succeed("node");
        stage.started(&["load"]);
        stage.succeed("cluster");
        stage.started(&["base"]);
        stage.succeed("base");
        stage.succeed("load");
    });
    assert!(run.trace.is_success());
    let node = run.trace.task("node").unwrap();
    assert_eq!(node.released_by, Some(Edge::milestone("cluster", "begun")));
    assert_eq!(
        node.ready,
        Some(run.trace.task("cluster").unwrap().milestones["begun"])
    );
}

#[test]
fn success_counts_as_every_milestone() {
    let graph = Graph::new(cluster()).unwrap();
    let run = Stage::play(&graph, &RunOptions::default(), |stage| {
        stage.started(&["cluster"]);
        stage.succeed("cluster");
        stage.started(&["node", "base"]);
        stage.succeed("node");
        stage.succeed("base");
        stage.started(&["load"]);
        stage.succeed("load");
    });
    assert!(run.trace.is_success());
    assert!(run.trace.task("cluster").unwrap().milestones.is_empty());
}

#[test]
fn failure_after_the_milestone_stops_waiting_tasks() {
    let graph = Graph::new(cluster()).unwrap();
    let options = RunOptions {
        keep_going: true,
        ..RunOptions::default()
    };
    let run = Stage::play(&graph, &options, |stage| {
        stage.started(&["cluster"]);
        stage.cue("cluster", Cue::Reach("begun"));
        stage.started(&["node"]);
        stage.cue("cluster", Cue::Fail("kubeadm"));
        stage.stopped(&["node"]);
    });
    assert_eq!(
        words(&run.trace),
        [
            ("cluster", "failed"),
            ("base", "not started"),
            ("node", "cancelled"),
            ("load", "not started")
        ]
    );
    let cause = Cause::Needs {
        task: "cluster".to_owned(),
    };
    assert_eq!(*outcome(&run.trace, "load"), Outcome::NotStarted { cause });
}

#[test]
fn undeclared_milestone_fails_the_task() {
    let graph = Graph::new(cluster()).unwrap();
    let run = Stage::play(&graph, &RunOptions::default(), |stage| {
        stage.started(&["cluster"]);
        stage.cue("cluster", Cue::Reach("ready"));
    });
    let Outcome::Failed { error, .. } = outcome(&run.trace, "cluster") else {
        panic!("{:?}", run.trace)
    };
    assert_eq!(
        error,
        "task \"cluster\" reached milestone \"ready\", which the plan does not declare for it"
    );
}
