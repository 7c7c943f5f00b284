//! The plan of a run: plain data, made from the settings before anything starts. A run does what its plan shows.

mod build;
mod cluster;
mod common;
mod deploy;
mod images;
mod kind;
mod local;
mod order;
mod show;
mod step;

use std::time::Duration;

use serde::Serialize;

pub(crate) use self::{
    common::scenarios,
    local::KUBE_EMBEDDED,
    show::{Format, commands, plan as show},
    step::{Action, Condition, Content, Program, Step, TagSource},
};
use super::{provider::Provider, settings::Settings};
use crate::command::{Command, tag_of};

/// The plan of a run.
pub(crate) type Plan = taskgraph::Plan<Work>;

type Task = taskgraph::Task<Work>;

/// What a task of the plan is and does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Work {
    pub(crate) kind: TaskKind,
    /// Its phase in `--order phased`.
    pub(crate) phase: usize,
    pub(crate) steps: Vec<Step>,
}

/// Kind of a task, for diagrams, reports and usual memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TaskKind {
    Preflight,
    Check,
    Compile,
    Pull,
    Cluster,
    Image,
    Load,
    Deploy,
    Test,
    Collect,
    Teardown,
}

/// Makes the plan of a run.
pub(crate) fn make(settings: &Settings) -> Plan {
    let mut plan = Plan::new();
    plan.resource("compile", 1)
        .resource("network", 2)
        .resource("images", 2);
    match &settings.provider {
        Provider::Kind(kind) => kind::tasks(settings, kind, &mut plan),
        Provider::Local(local) => local::tasks(settings, local, &mut plan),
        Provider::Cluster(cluster) => cluster::tasks(settings, cluster, &mut plan),
    }
    order::apply(settings.order, &mut plan);
    plan
}

/// Reduces a plan to a task, its transitive dependencies and the tasks that always run (`--only`).
pub(crate) fn only(plan: &mut Plan, task: &str) -> anyhow::Result<()> {
    if !plan.tasks.iter().any(|known| known.name == task) {
        let known: Vec<_> = plan.tasks.iter().map(|known| known.name.as_str()).collect();
        anyhow::bail!("unknown task {task:?}; known tasks: {}", known.join(", "));
    }
    let mut wanted = vec![task.to_owned()];
    let mut index = 0;
    while let Some(name) = wanted.get(index).cloned() {
        let edges = plan
            .tasks
            .iter()
            .filter(|task| task.name == name)
            .flat_map(|task| &task.after);
        let more: Vec<String> = edges
            .map(|edge| edge.task.clone())
            .filter(|name| !wanted.contains(name))
            .collect();
        wanted.extend(more);
        index += 1;
    }
    plan.tasks
        .retain(|task| task.always || wanted.contains(&task.name));
    Ok(())
}

/// Returns a task with its expected duration in seconds.
fn task(name: impl Into<String>, kind: TaskKind, phase: usize, seconds: u64, steps: Vec<Step>) -> Task {
    Task::new(name, Work { kind, phase, steps }).estimate(Duration::from_secs(seconds))
}

/// Phases of `--order phased`; services and their jobs follow one another from `FIRST_SERVICE` on.
mod phase {
    pub(super) const FIRST: usize = 0;
    pub(super) const CLUSTER: usize = 1;
    pub(super) const IMAGES: usize = 2;
    pub(super) const FIRST_SERVICE: usize = 3;
    pub(super) const LAST: usize = usize::MAX;
}

/// Returns the phase of a service, which follows those of the services that it needs.
fn service_phase(settings: &Settings, service: &str) -> usize {
    let phase_after = |name: &str| {
        if settings.stack.services.contains_key(name) {
            service_phase(settings, name) + 1
        } else {
            phase::FIRST_SERVICE
        }
    };
    let needs = settings.stack.needs(service).iter();
    needs
        .map(|need| phase_after(need.get_ref()))
        .max()
        .unwrap_or(phase::FIRST_SERVICE)
}

/// Returns the tasks that provide what an entry needs: `base` creates the CRDs.
fn needed_tasks(settings: &Settings, entry: &str) -> Vec<String> {
    let stack = &settings.stack;
    let task = |need: &String| {
        if stack.crds.contains_key(need.as_str()) {
            "base".to_owned()
        } else {
            need.clone()
        }
    };
    let needs = stack.needs(entry).iter();
    let mut tasks: Vec<String> = needs.map(|need| task(need.get_ref())).collect();
    tasks.dedup();
    tasks
}

#[cfg(test)]
mod tests;
