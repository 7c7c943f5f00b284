use std::collections::BTreeSet;

use taskgraph::Graph;

use super::*;
use crate::{
    e2e::settings::{BuildOn, Order, testing},
    run_folder::ProviderName,
};

fn plan_of(provider: ProviderName, order: Order) -> Plan {
    make(&testing::settings(provider, order))
}

/// Returns the transitive dependencies of a task.
fn waits_for(plan: &Plan, name: &str) -> BTreeSet<String> {
    let mut only_it = plan.clone();
    only(&mut only_it, name).unwrap();
    only_it
        .tasks
        .iter()
        .filter(|task| !task.always && task.name != name)
        .map(|task| task.name.clone())
        .collect()
}

#[track_caller]
fn task<'a>(plan: &'a Plan, name: &str) -> &'a Task {
    plan.tasks
        .iter()
        .find(|task| task.name == name)
        .unwrap_or_else(|| panic!("no task {name}"))
}

const PROVIDERS: [ProviderName; 2] = [ProviderName::Kind, ProviderName::Local];
const ORDERS: [Order; 3] = [Order::Graph, Order::Phased, Order::Sequential];

#[test]
fn every_plan_is_valid() {
    for provider in PROVIDERS {
        for order in ORDERS {
            if let Err(errors) = Graph::new(plan_of(provider, order)) {
                panic!("{provider} {order}: {errors}");
            }
        }
    }
}

#[test]
fn cluster_and_compile_are_independent() {
    for provider in PROVIDERS {
        let plan = plan_of(provider, Order::Graph);
        assert!(!waits_for(&plan, "cluster").contains("compile"), "{provider}");
        assert!(!waits_for(&plan, "compile").contains("cluster"), "{provider}");
    }
}

#[test]
fn local_plan_compiles_once_and_before_anything_starts() {
    let plan = plan_of(ProviderName::Local, Order::Graph);
    assert!(plan.tasks.iter().all(|task| task.action.kind != TaskKind::Check));
    for component in ["postgresql", "redis"] {
        assert!(waits_for(&plan, component).contains("compile"), "{component}");
    }
    assert!(waits_for(&plan, "cluster").contains("compile:kube-embedded"));
}

#[test]
fn check_precedes_the_cluster_in_every_order() {
    for order in ORDERS {
        assert!(
            waits_for(&plan_of(ProviderName::Kind, order), "cluster").contains("check"),
            "{order}"
        );
    }
}

#[test]
fn image_loading_does_not_wait_for_kubernetes() {
    let plan = plan_of(ProviderName::Kind, Order::Graph);
    let edge = taskgraph::Edge::milestone("cluster", "begun");
    assert_eq!(task(&plan, "node").after, [edge]);
    assert!(
        !task(&plan, "load:components")
            .after
            .contains(&taskgraph::Edge::end("cluster"))
    );
}

#[test]
fn all_orders_have_the_same_tasks_and_steps() {
    for provider in PROVIDERS {
        let bare = |order| -> Vec<(String, Vec<Step>)> {
            plan_of(provider, order)
                .tasks
                .into_iter()
                .map(|task| (task.name, task.action.steps))
                .collect()
        };
        assert_eq!(bare(Order::Graph), bare(Order::Phased));
        assert_eq!(bare(Order::Graph), bare(Order::Sequential));
    }
}

#[test]
fn sequential_order_is_a_chain() {
    for provider in PROVIDERS {
        let plan = plan_of(provider, Order::Sequential);
        let tasks: Vec<_> = plan.tasks.iter().filter(|task| !task.always).collect();
        for pair in tasks.windows(2) {
            let before = taskgraph::Edge::end(&pair[0].name);
            assert!(
                pair[1].after.contains(&before),
                "{} after {}",
                pair[1].name,
                pair[0].name
            );
        }
    }
}

#[test]
fn phased_order_is_cluster_images_services_tests() {
    let plan = plan_of(ProviderName::Kind, Order::Phased);
    for (later, earlier) in [
        ("compile", "base"),
        ("image:gateway", "cluster"),
        ("postgresql", "base"),
        ("migrate", "load:gateway"),
        ("migrate", "redis"),
        ("gateway", "redis"),
        ("test", "gateway"),
    ] {
        assert!(
            waits_for(&plan, later).contains(earlier),
            "{later} after {earlier}"
        );
    }
    // Tasks of one phase are parallel.
    assert!(!waits_for(&plan, "image:gateway").contains("image:datastorage"));
}

#[test]
fn services_wait_for_their_needs() {
    for provider in PROVIDERS {
        let plan = plan_of(provider, Order::Graph);
        let datastorage = waits_for(&plan, "datastorage");
        assert!(
            ["migrate", "redis", "postgresql", "base"]
                .iter()
                .all(|need| datastorage.contains(*need))
        );
        // Without DataStorage it keeps audit events in its spool.
        assert!(!waits_for(&plan, "gateway").contains("datastorage"));
        let test = waits_for(&plan, "test");
        assert!(test.contains("gateway") && test.contains("datastorage"));
    }
}

#[test]
fn shared_base_image_is_pulled_once() {
    let plan = plan_of(ProviderName::Kind, Order::Graph);
    let names: Vec<_> = plan
        .tasks
        .iter()
        .map(|task| task.name.as_str())
        .filter(|name| name.starts_with("pull:"))
        .collect();
    assert_eq!(
        names,
        [
            "pull:ubi-minimal",
            "pull:postgresql-16-c9s",
            "pull:redis-7-c9s",
            "pull:node"
        ]
    );
    assert_eq!(task(&plan, "pull:ubi-minimal").action.steps.len(), 1);
}

#[test]
fn builder_image_compiles_on_request_or_as_fallback() {
    let mut settings = testing::settings(ProviderName::Kind, Order::Graph);
    let has_builder = |settings: &Settings| {
        let text = commands(&make(settings));
        let lines: Vec<_> = text
            .lines()
            .filter(|line| line.contains("builder.Dockerfile"))
            .map(str::to_owned)
            .collect();
        lines
    };
    assert!(has_builder(&settings)[0].starts_with("# if not: podman build"));
    settings.build = Some(BuildOn::Container);
    assert!(has_builder(&settings)[0].starts_with("podman build"));
    settings.build = Some(BuildOn::Host);
    assert!(has_builder(&settings).is_empty());
}

#[test]
fn only_keeps_a_task_its_dependencies_and_teardown() {
    let mut plan = plan_of(ProviderName::Kind, Order::Graph);
    only(&mut plan, "base").unwrap();
    let names: Vec<_> = plan.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "preflight",
            "check",
            "pull:node",
            "cluster",
            "base",
            "collect",
            "teardown"
        ]
    );
    let error = only(&mut plan, "bse").unwrap_err().to_string();
    assert!(
        error.starts_with("unknown task \"bse\"; known tasks: preflight, check"),
        "{error}"
    );
}

#[test]
fn formats_show_every_task_and_edge() {
    let plan = plan_of(ProviderName::Kind, Order::Graph);
    let dot = show(&plan, Format::Dot).unwrap();
    assert!(
        dot.contains("\"cluster\" -> \"node\" [style=dashed, label=\"begun\"]"),
        "{dot}"
    );
    assert!(dot.contains("\"compile\" -> \"image:gateway\""));
    let mermaid = show(&plan, Format::Mermaid).unwrap();
    assert!(mermaid.contains("t_compile --> t_image_gateway"), "{mermaid}");
    let text = show(&plan, Format::Text).unwrap();
    assert_eq!(text.lines().count(), plan.tasks.len());
    let json: serde_json::Value = serde_json::from_str(&show(&plan, Format::Json).unwrap()).unwrap();
    let load = json["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|task| task["name"] == "load:gateway")
        .unwrap()
        .clone();
    assert_eq!(
        load["after"],
        serde_json::json!([{"task": "node"}, {"task": "image:gateway"}])
    );
}
