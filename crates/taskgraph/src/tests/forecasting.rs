use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::seconds;
use crate::{Graph, Plan, Task, Timing, Trace};

/// The undisturbed duration of a task, and the cores that it then keeps busy.
type Truth = (f64, f64);

fn plan(tasks: &[(&str, Truth, &[&str])]) -> Plan<Truth> {
    let mut plan = Plan::new();
    for (name, truth, after) in tasks {
        plan.task(Task::new(*name, *truth).after_all(after.iter().copied()));
    }
    plan
}

/// The measurement of a machine with this many cores.
fn measured(graph: &Graph<Truth>, cores: f64) -> Trace {
    let mut trace = graph.simulate(Some(cores), |task| Timing {
        duration: Duration::from_secs_f64(task.action.0),
        cores: task.action.1,
        ..Timing::default()
    });
    for (traced, task) in trace.tasks.iter_mut().zip(&graph.plan().tasks) {
        traced
            .measured
            .insert("cpu_seconds".to_owned(), task.action.0 * task.action.1);
    }
    trace
}

fn near(found: Duration, expected: Duration, tolerance: f64) -> bool {
    (found.as_secs_f64() - expected.as_secs_f64()).abs() <= tolerance * expected.as_secs_f64()
}

/// A compile that could use one core beside a cluster and pulls that use one each.
fn stack() -> Graph<Truth> {
    Graph::new(plan(&[
        ("compile", (40.0, 1.0), &[]),
        ("cluster", (25.0, 0.9), &[]),
        ("pull", (10.0, 0.8), &[]),
        ("image", (5.0, 0.5), &["compile", "pull"]),
        ("base", (4.0, 0.2), &["cluster"]),
        ("test", (12.0, 0.6), &["image", "base"]),
    ]))
    .unwrap()
}

#[test]
fn forecast_of_less_contention_equals_the_other_machines_measurement() {
    let graph = stack();
    let here = measured(&graph, 2.0);
    let model = here.model(2.0).unwrap();
    assert!(
        near(model.check().unwrap(), here.wall, 0.001),
        "{:?} instead of {:?}",
        model.check(),
        here.wall
    );
    for cores in [1.0, 2.0, 4.0, 8.0] {
        let there = measured(&graph, cores).wall;
        let forecast = model.forecast(cores, &here.resources).unwrap();
        assert!(
            near(forecast.at_most, there, 0.02),
            "{cores} cores: {forecast:?} instead of {there:?}"
        );
        // No task kept more than one core busy, so the forecast scales none.
        assert_eq!(forecast.at_least, forecast.at_most);
    }
    assert!(measured(&graph, 4.0).wall < here.wall, "the machines differ");
}

/// The same tasks, each after the one before it.
fn one_at_a_time(graph: &Graph<Truth>) -> Graph<Truth> {
    let mut plan = graph.plan().clone();
    let names: Vec<String> = plan.tasks.iter().map(|task| task.name.clone()).collect();
    for (task, before) in plan.tasks.iter_mut().skip(1).zip(names) {
        *task = task.clone().after(before);
    }
    Graph::new(plan).unwrap()
}

#[test]
fn sequential_run_forecasts_another_order() {
    let (graph, sequential) = (stack(), one_at_a_time(&stack()));
    let model = measured(&sequential, 2.0).model(2.0).unwrap();
    let here = measured(&graph, 2.0);
    assert!(here.wall < model.check().unwrap(), "the orders differ");
    let other = model.in_order_of(&here);
    assert!(
        near(other.check().unwrap(), here.wall, 0.001),
        "{:?} instead of {:?}",
        other.check(),
        here.wall
    );
    let there = measured(&graph, 4.0).wall;
    let forecast = other.forecast(4.0, &here.resources).unwrap();
    assert!(
        near(forecast.at_most, there, 0.001),
        "{forecast:?} instead of {there:?}"
    );
}

#[test]
fn task_of_the_other_order_only_keeps_its_duration() {
    let model = measured(&Graph::new(plan(&[("a", (10.0, 0.0), &[])])).unwrap(), 2.0).model(2.0);
    let other = Graph::new(plan(&[("a", (99.0, 0.0), &[]), ("b", (5.0, 0.0), &["a"])])).unwrap();
    let found = model.unwrap().in_order_of(&measured(&other, 2.0)).check();
    assert_eq!(found.unwrap(), seconds(15));
}

#[test]
fn task_that_keeps_all_cores_busy_has_both_bounds() {
    // 30 s on 2 cores: 40 s of CPU time in parallel (20 s), 10 s on one core.
    let graph = Graph::new(plan(&[("compile", (30.0, 50.0 / 30.0), &[])])).unwrap();
    let here = measured(&graph, 2.0);
    let forecast = here.model(2.0).unwrap().forecast(4.0, &here.resources).unwrap();
    assert!(near(forecast.at_most, seconds(30), 0.001), "{forecast:?}");
    assert!(near(forecast.at_least, seconds(20), 0.001), "{forecast:?}");
}

#[test]
fn task_without_a_cpu_figure_keeps_its_duration() {
    let mut plan = Plan::new();
    plan.resource("slots", 1)
        .task(Task::new("a", ()).needs("slots", 1).estimate(seconds(10)))
        .task(Task::new("b", ()).needs("slots", 1).estimate(seconds(20)));
    let trace = Graph::new(plan).unwrap().simulate(None, Timing::estimated);
    let model = trace.model(2.0).unwrap();
    assert_eq!(
        model.forecast(8.0, &trace.resources).unwrap().at_most,
        seconds(30)
    );
    // Other resources than cores matter too.
    let two = BTreeMap::from([("slots".to_owned(), 2)]);
    assert_eq!(model.forecast(8.0, &two).unwrap().at_most, seconds(20));
}

#[test]
fn model_of_nonsensical_figures_is_no_error() {
    let mut trace = measured(&stack(), 2.0);
    for (task, figure) in trace
        .tasks
        .iter_mut()
        .zip([f64::NAN, f64::INFINITY, -1.0, 1e300, 0.0, 1e-300])
    {
        task.measured.insert("cpu_seconds".to_owned(), figure);
    }
    for cores in [2.0, 1.0, 0.5] {
        let model = trace.model(cores).unwrap();
        model.check().unwrap();
        model.forecast(64.0, &trace.resources).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn model_replays_the_measurement(
        tasks in prop::collection::vec((1..60_u32, 0..=20_u32, any::<prop::sample::Index>(), any::<bool>()), 1..12),
    ) {
        let mut plan = Plan::new();
        for (id, (duration, tenths, before, has_edge)) in tasks.into_iter().enumerate() {
            let mut task = Task::new(format!("t{id}"), (f64::from(duration), f64::from(tenths) / 10.0));
            if has_edge && id > 0 {
                task = task.after(format!("t{}", before.index(id)));
            }
            plan.task(task);
        }
        let graph = Graph::new(plan).unwrap();
        let here = measured(&graph, 2.0);
        let check = here.model(2.0).unwrap().check().unwrap();
        prop_assert!(near(check, here.wall, 0.02), "{:?} instead of {:?}", check, here.wall);
    }
}
