//! The three orders: the same tasks with different edges.

use taskgraph::Edge;

use super::Plan;
use crate::e2e::settings::Order;

/// Adds the edges of an order.
pub(super) fn apply(order: Order, plan: &mut Plan) {
    match order {
        Order::Graph => {}
        Order::Phased => phased(plan),
        Order::Sequential => sequential(plan),
    }
    for task in &mut plan.tasks {
        let mut seen = Vec::new();
        task.after.retain(|edge| {
            !seen.contains(edge) && {
                seen.push(edge.clone());
                true
            }
        });
    }
}

/// Adds edges from all tasks of the previous phase to each task.
fn phased(plan: &mut Plan) {
    let phases: Vec<(usize, String)> = plan
        .tasks
        .iter()
        .filter(|task| !task.always)
        .map(|task| (task.action.phase, task.name.clone()))
        .collect();
    for task in plan.tasks.iter_mut().filter(|task| !task.always) {
        let before = phases
            .iter()
            .map(|(phase, _)| *phase)
            .filter(|phase| *phase < task.action.phase)
            .max();
        let names = phases.iter().filter(|(phase, _)| Some(*phase) == before);
        task.after.extend(names.map(|(_, name)| Edge::end(name)));
    }
}

/// Adds an edge from each task to the next one in the plan.
fn sequential(plan: &mut Plan) {
    let names: Vec<String> = plan.tasks.iter().map(|task| task.name.clone()).collect();
    let later = plan.tasks.iter_mut().skip(1).filter(|task| !task.always);
    for (task, before) in later.zip(names) {
        task.after.push(Edge::end(before));
    }
}
