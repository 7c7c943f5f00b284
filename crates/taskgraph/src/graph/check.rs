//! Resolves names to indices and collects all errors.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Link, Node, PlanError};
use crate::plan::{Edge, Plan, Task};

pub(super) fn index_names<'p, A>(plan: &'p Plan<A>, errors: &mut Vec<PlanError>) -> HashMap<&'p str, usize> {
    let mut ids = HashMap::new();
    for (id, task) in plan.tasks.iter().enumerate() {
        if ids.insert(task.name.as_str(), id).is_some() {
            errors.push(PlanError::Duplicate {
                name: task.name.clone(),
            });
        }
    }
    ids
}

pub(super) fn links<A>(
    plan: &Plan<A>,
    task: &Task<A>,
    ids: &HashMap<&str, usize>,
    errors: &mut Vec<PlanError>,
) -> Vec<Link> {
    let mut links = Vec::new();
    for edge in &task.after {
        match link(plan, task, edge, ids) {
            // A repeated edge has no effect.
            Ok(link) if links.contains(&link) => {}
            Ok(link) => links.push(link),
            Err(error) => errors.push(error),
        }
    }
    links
}

fn link<A>(
    plan: &Plan<A>,
    task: &Task<A>,
    edge: &Edge,
    ids: &HashMap<&str, usize>,
) -> Result<Link, PlanError> {
    let name = || task.name.clone();
    let Some(&id) = ids.get(edge.task.as_str()) else {
        return Err(PlanError::UnknownTask {
            task: name(),
            missing: edge.task.clone(),
        });
    };
    let other = &plan.tasks[id];
    if task.always || other.always {
        return Err(PlanError::EdgeOfAlways {
            task: name(),
            after: edge.task.clone(),
        });
    }
    if let Some(milestone) = &edge.milestone
        && !other.milestones.contains_key(milestone)
    {
        let declared: Vec<_> = other.milestones.keys().map(String::as_str).collect();
        return Err(PlanError::UnknownMilestone {
            task: name(),
            of: edge.task.clone(),
            milestone: milestone.clone(),
            declared: if declared.is_empty() {
                "none".to_owned()
            } else {
                declared.join(", ")
            },
        });
    }
    Ok(Link {
        task: id,
        milestone: edge.milestone.clone(),
    })
}

pub(super) fn needs<A>(plan: &Plan<A>, task: &Task<A>, errors: &mut Vec<PlanError>) -> Vec<(usize, u64)> {
    let indices: BTreeMap<&str, usize> = plan
        .resources
        .keys()
        .enumerate()
        .map(|(index, name)| (name.as_str(), index))
        .collect();
    let mut needs = Vec::new();
    for (resource, &amount) in &task.needs {
        let (task, resource) = (task.name.clone(), resource.clone());
        match (indices.get(resource.as_str()), plan.resources.get(&resource)) {
            (Some(_), Some(&capacity)) if amount > capacity => {
                errors.push(PlanError::TooMuch {
                    task,
                    resource,
                    amount,
                    capacity,
                });
            }
            (Some(&index), _) => needs.push((index, amount)),
            (None, _) => errors.push(PlanError::UnknownResource { task, resource }),
        }
    }
    needs
}

/// Kahn's algorithm, in the order of the plan among equals; `always` tasks last. Remaining tasks are in or
/// behind a cycle.
pub(super) fn sort(nodes: &[Node], errors: &mut Vec<PlanError>) -> Vec<usize> {
    let mut missing: Vec<usize> = nodes.iter().map(|node| node.after.len()).collect();
    let mut ready: BTreeSet<(bool, usize)> = nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.after.is_empty())
        .map(|(id, node)| (node.always, id))
        .collect();
    let mut sorted = Vec::with_capacity(nodes.len());
    while let Some((_, id)) = ready.pop_first() {
        sorted.push(id);
        for link in &nodes[id].before {
            missing[link.task] -= 1;
            if missing[link.task] == 0 {
                ready.insert((nodes[link.task].always, link.task));
            }
        }
    }
    errors.extend(cycles(nodes, &missing));
    sorted
}

/// Walks backwards from each remaining task; each has a remaining predecessor, so every walk ends in a cycle.
fn cycles(nodes: &[Node], missing: &[usize]) -> Vec<PlanError> {
    let mut cycles = Vec::new();
    let mut seen = vec![false; nodes.len()];
    for start in (0..nodes.len()).filter(|&id| missing[id] > 0) {
        let mut walk = Vec::new();
        let mut id = start;
        while !seen[id] {
            seen[id] = true;
            walk.push(id);
            let Some(link) = nodes[id].after.iter().find(|link| missing[link.task] > 0) else {
                return cycles;
            };
            id = link.task;
        }
        if let Some(begin) = walk.iter().position(|&step| step == id) {
            let cycle = walk[begin..].iter().rev().chain(walk.last());
            cycles.push(PlanError::Cycle {
                cycle: cycle.map(|&id| nodes[id].name.clone()).collect(),
            });
        }
    }
    cycles
}
