use super::{plan, seconds};
use crate::{Edge, Graph, Plan, PlanError, Task};

fn errors(plan: Plan<String>) -> Vec<PlanError> {
    Graph::new(plan).unwrap_err().0
}

#[test]
fn rejects_cycle_and_names_its_tasks() {
    let found = errors(plan(&["start", "a:start c", "b:a", "c:b", "behind:c"]));
    let [PlanError::Cycle { cycle }] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(cycle.first(), cycle.last());
    assert_eq!(cycle.len(), 4);
    // Each waits for the one before it.
    for (before, after) in [("a", "b"), ("b", "c"), ("c", "a")] {
        assert!(cycle.windows(2).any(|pair| pair == [before, after]), "{cycle:?}");
    }
    assert!(found[0].to_string().contains(" -> "), "{}", found[0]);
}

#[test]
fn rejects_a_task_that_waits_for_itself() {
    assert_eq!(
        errors(plan(&["a:a"])),
        [PlanError::Cycle {
            cycle: vec!["a".into(), "a".into()]
        }]
    );
}

#[test]
fn names_both_of_two_separate_cycles() {
    let found = errors(plan(&["a:b", "b:a", "c:d", "d:c"]));
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn all_errors_are_reported_at_once() {
    let mut plan = plan(&["a:nowhere", "a", "b"]);
    plan.resource("cpu", 2)
        .task(Task::new("greedy", String::new()).needs("cpu", 3).needs("gpu", 1))
        .task(Task::new("hasty", String::new()).after_milestone("b", "begun"))
        .task(Task::new("late", String::new()).after("teardown"))
        .task(Task::new("teardown", String::new()).after("b").always());
    let error = Graph::new(plan).unwrap_err();
    let text = error.to_string();
    for expected in [
        "task \"a\" is in the plan twice",
        "task \"a\" waits for \"nowhere\", which is not in the plan",
        "task \"greedy\" needs 3 of \"cpu\", of which there are 2",
        "task \"greedy\" needs \"gpu\", which is not a resource of the plan",
        "task \"hasty\" waits for milestone \"begun\" of \"b\", which declares none",
        "task \"late\" waits for \"teardown\", but one of them always runs at the end",
        "task \"teardown\" waits for \"b\", but one of them always runs at the end",
    ] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
    assert_eq!(error.0.len(), 7, "{text}");
}

#[test]
fn plan_survives_a_file() {
    let mut plan = plan(&["a", "b:a"]);
    plan.resource("memory", 1 << 30)
        .task(
            Task::new("c", "c".to_owned())
                .after_milestone("a", "begun")
                .needs("memory", 5)
                .estimate(seconds(90))
                .milestone("half", seconds(45)),
        )
        .task(Task::new("z", "z".to_owned()).always());
    plan.tasks[0]
        .milestones
        .insert("begun".into(), std::time::Duration::from_millis(100));
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan<String>>(&text).unwrap(), plan);
    // Durations are plain seconds, edges objects with the task's name.
    assert!(text.contains(r#""milestones":{"begun":0.1}"#), "{text}");
    assert!(text.contains(r#""after":[{"task":"a"}]"#), "{text}");
    assert!(text.contains(r#"{"task":"a","milestone":"begun"}"#), "{text}");
}

#[test]
fn plan_file_needs_only_names_and_actions() {
    let text = r#"{"tasks":[{"name":"a","action":null},{"name":"b","action":null,"after":[{"task":"a"}]}]}"#;
    let graph = Graph::new(serde_json::from_str::<Plan>(text).unwrap()).unwrap();
    let b = graph.task(graph.id("b").unwrap());
    assert_eq!((b.estimate, &b.after[..]), (seconds(1), &[Edge::end("a")][..]));
}

#[test]
fn rejects_an_invalid_duration() {
    for bad in ["-1", "1e300", "\"soon\""] {
        let text = format!(r#"{{"tasks":[{{"name":"a","action":null,"estimate":{bad}}}]}}"#);
        assert!(serde_json::from_str::<Plan>(&text).is_err(), "{bad}");
    }
}

#[test]
fn topological_order_puts_each_task_after_its_dependencies_and_always_tasks_last() {
    let mut plan = plan(&["c:b", "b:a", "a"]);
    plan.tasks
        .insert(0, Task::new("teardown", String::new()).always());
    let graph = Graph::new(plan).unwrap();
    let names: Vec<_> = graph
        .topological()
        .map(|id| graph.task(id).name.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c", "teardown"]);
}

#[test]
fn longest_chain_counts_milestones_from_their_offset() {
    let mut plan = Plan::new();
    plan.task(
        Task::new("cluster", ())
            .estimate(seconds(15))
            .milestone("begun", seconds(2)),
    )
    .task(
        Task::new("node", ())
            .after_milestone("cluster", "begun")
            .estimate(seconds(1)),
    )
    .task(Task::new("load", ()).after("node").estimate(seconds(20)))
    .task(Task::new("base", ()).after("cluster").estimate(seconds(3)));
    let graph = Graph::new(plan).unwrap();
    let chain: Vec<_> = graph
        .longest_chain()
        .into_iter()
        .map(|(id, cost)| (graph.task(id).name.as_str(), cost.as_secs()))
        .collect();
    assert_eq!(chain, [("cluster", 2), ("node", 1), ("load", 20)]);
    assert_eq!(graph.remaining_chain(graph.id("cluster").unwrap()), seconds(23));
    assert_eq!(graph.remaining_chain(graph.id("base").unwrap()), seconds(3));
}

#[test]
fn huge_estimates_do_not_overflow() {
    let mut plan = Plan::new();
    plan.resource("slots", 1);
    for (name, after) in [("a", None), ("b", Some("a")), ("c", Some("a"))] {
        let task = Task::new(name, ())
            .estimate(std::time::Duration::MAX)
            .needs("slots", 1);
        plan.task(task.after_all(after));
    }
    let trace = Graph::new(plan).unwrap().simulate(Some(1.0), |_| crate::Timing {
        duration: std::time::Duration::MAX,
        cores: 0.5,
        ..crate::Timing::default()
    });
    assert!(trace.is_success());
    trace.slack();
    trace.if_longest_were_free().unwrap();
}
