use std::collections::BTreeMap;

use super::seconds;
use crate::{Edge, Graph, Plan, Task, Through, Timing, Trace};

fn task(name: &str, estimate: u64) -> Task<()> {
    Task::new(name, ()).estimate(seconds(estimate))
}

/// cluster 20 (begun at 2), compile 30, image 5 after compile, load 3 after image and cluster's begin,
/// base 4 after cluster, service 6 after base and load, teardown 1 always.
fn trace() -> Trace {
    let mut plan = Plan::new();
    plan.task(task("cluster", 20).milestone("begun", seconds(2)))
        .task(task("compile", 30))
        .task(task("image", 5).after("compile"))
        .task(task("load", 3).after("image").after_milestone("cluster", "begun"))
        .task(task("base", 4).after("cluster"))
        .task(task("service", 6).after("base").after("load"))
        .task(task("teardown", 1).always());
    Graph::new(plan).unwrap().simulate(None, Timing::estimated)
}

#[test]
fn bounding_chain_names_each_link_its_cost_and_its_condition() {
    let chain: Vec<_> = trace()
        .bounding_chain()
        .into_iter()
        .map(|link| (link.cost().as_secs(), link.task, link.through))
        .collect();
    let after = |task: &str| Through::Edge {
        edge: Edge::end(task),
    };
    assert_eq!(
        chain,
        [
            (30, "compile".to_owned(), Through::Beginning),
            (5, "image".to_owned(), after("compile")),
            (3, "load".to_owned(), after("image")),
            (6, "service".to_owned(), after("load")),
            (1, "teardown".to_owned(), after("service")),
        ]
    );
}

#[test]
fn slack_is_zero_on_the_chain_and_the_spare_time_off_it() {
    let slack: BTreeMap<String, u64> = trace()
        .slack()
        .into_iter()
        .map(|(name, slack)| (name, slack.as_secs()))
        .collect();
    let expected = [
        ("base", 14),
        ("cluster", 14),
        ("compile", 0),
        ("image", 0),
        ("load", 0),
        ("service", 0),
        ("teardown", 0),
    ];
    assert_eq!(
        slack,
        expected.map(|(name, slack)| (name.to_owned(), slack)).into()
    );
}

#[test]
fn chain_through_a_milestone_charges_only_the_time_up_to_it() {
    let mut plan = Plan::new();
    plan.task(task("cluster", 20).milestone("begun", seconds(2)))
        .task(task("load", 30).after_milestone("cluster", "begun"));
    let trace = Graph::new(plan).unwrap().simulate(None, Timing::estimated);
    let chain = trace.bounding_chain();
    assert_eq!((chain[0].task.as_str(), chain[0].cost()), ("cluster", seconds(2)));
    assert_eq!(
        chain[1].through,
        Through::Edge {
            edge: Edge::milestone("cluster", "begun")
        }
    );
    assert_eq!(chain[1].cost(), seconds(30));
    // It could have ended 12 s later; reaching the milestone later would have cost the run.
    assert_eq!(trace.slack()["cluster"], seconds(0));
}

#[test]
fn resource_handover_is_a_link_of_the_chain() {
    let mut plan = Plan::new();
    plan.resource("slots", 1)
        .task(task("first", 9).needs("slots", 1))
        .task(task("second", 8).needs("slots", 1));
    let trace = Graph::new(plan).unwrap().simulate(None, Timing::estimated);
    let chain = trace.bounding_chain();
    let through = Through::Resource {
        resources: vec!["slots".to_owned()],
        freed_by: "first".to_owned(),
    };
    assert_eq!((chain.len(), &chain[1].through), (2, &through));
    assert_eq!(trace.slack()["first"], seconds(0));
    assert_eq!(trace.task("second").unwrap().waited(), seconds(9));
    // The edges alone would allow 9 s.
    assert_eq!(trace.longest_chain().unwrap(), [("first".to_owned(), seconds(9))]);
}

#[test]
fn without_the_longest_link_the_next_chain_bounds_the_run() {
    let free = trace().if_longest_were_free().unwrap().unwrap();
    assert_eq!((free.task.as_str(), free.cost), ("compile", seconds(30)));
    // cluster 20, base 4, service 6, teardown 1.
    assert_eq!(free.wall, seconds(31));
}

#[test]
fn longest_chain_is_measured_not_estimated() {
    let mut plan = Plan::new();
    plan.task(task("a", 1))
        .task(task("b", 100))
        .task(task("c", 1).after("a"));
    let trace = Graph::new(plan).unwrap().simulate(None, |task| Timing {
        duration: seconds(if task.name == "b" { 1 } else { 50 }),
        ..Timing::default()
    });
    let chain = trace.longest_chain().unwrap();
    assert_eq!(
        chain,
        [("a".to_owned(), seconds(50)), ("c".to_owned(), seconds(50))]
    );
}

#[test]
fn inconsistent_trace_is_rejected_or_truncated_and_never_hangs() {
    let mut trace = trace();
    trace.tasks[0].after.push(Edge::end("service"));
    trace.tasks[0].released_by = Some(Edge::end("service"));
    trace.tasks[5].released_by = Some(Edge::end("cluster"));
    assert!(trace.bounding_chain().len() <= trace.tasks.len());
    trace.slack();
    assert!(trace.longest_chain().is_err());
    assert!(trace.replay(&trace.resources).is_err());
}
