//! The plan of a run: plain data, made from the settings before anything starts. What it does not show is not done.

mod build;
mod cluster;
mod common;
mod deploy;
mod images;
mod kind;
mod local;
mod namespace;
mod order;
mod show;
mod step;

use std::time::Duration;

use serde::Serialize;

pub(crate) use self::{
    local::KUBE_EMBEDDED,
    show::{Format, commands, plan as show},
    step::Step,
};
use super::settings::Settings;
use crate::{
    command::{Command, Test, tag_of},
    run_folder::Provider,
};

/// The plan of a run.
pub(crate) type Plan = taskgraph::Plan<Work>;

type Task = taskgraph::Task<Work>;

/// What a task of the plan is and does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Work {
    pub(crate) kind: Kind,
    /// Its phase in `--order phased`.
    pub(crate) phase: usize,
    pub(crate) steps: Vec<Step>,
}

/// What a task is, for pictures and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
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
    match (settings.provider, &settings.remote) {
        (Provider::Local, _) => local::tasks(settings, &mut plan),
        (_, Some(remote)) => namespace::tasks(settings, remote, &mut plan),
        (Provider::Kind | Provider::Cluster, None) => kind::tasks(settings, &mut plan),
    }
    order::apply(settings.order, &mut plan);
    plan
}

/// What `--only` leaves of a plan: the task, all that it waits for, and the tasks that always run.
pub(crate) fn only(plan: &mut Plan, task: &str) -> anyhow::Result<()> {
    if !plan.tasks.iter().any(|known| known.name == task) {
        let known: Vec<_> = plan.tasks.iter().map(|known| known.name.as_str()).collect();
        anyhow::bail!("there is no task {task:?}; there are: {}", known.join(", "));
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

/// A task of a kind, with the seconds that it is expected to take.
fn task(name: impl Into<String>, kind: Kind, phase: usize, seconds: u64, steps: Vec<Step>) -> Task {
    Task::new(name, Work { kind, phase, steps }).estimate(Duration::from_secs(seconds))
}

fn run(command: Command, seconds: u64) -> Step {
    Step::Run {
        command,
        unless: None,
        seconds,
    }
}

fn run_unless(test: Test, command: Command, seconds: u64) -> Step {
    Step::Run {
        command,
        unless: Some(test),
        seconds,
    }
}

/// Phases of `--order phased`; services and their jobs follow one another after `FIRST_SERVICE`.
mod phase {
    pub(super) const FIRST: usize = 0;
    pub(super) const CLUSTER: usize = 1;
    pub(super) const IMAGES: usize = 2;
    pub(super) const FIRST_SERVICE: usize = 3;
    pub(super) const LAST: usize = usize::MAX;
}

/// The phase of a service: after those of the services that it needs.
fn service_phase(settings: &Settings, service: &str) -> usize {
    let below = |name: &str| -> usize {
        let is_service = settings.stack.services.contains_key(name);
        if is_service {
            service_phase(settings, name) + 1
        } else {
            phase::FIRST_SERVICE
        }
    };
    let needs = settings.stack.needs(service);
    needs
        .iter()
        .map(|need| below(need.get_ref()))
        .max()
        .unwrap_or(phase::FIRST_SERVICE)
}

/// The tasks that stand for what an entry needs: a CRD is there when `base` is done.
fn needed_tasks(settings: &Settings, entry: &str) -> Vec<String> {
    let stack = &settings.stack;
    let task = |need: &String| {
        if stack.crds.contains_key(need.as_str()) {
            "base".to_owned()
        } else {
            need.clone()
        }
    };
    let mut tasks: Vec<String> = stack
        .needs(entry)
        .iter()
        .map(|need| task(need.get_ref()))
        .collect();
    tasks.dedup();
    tasks
}

#[cfg(test)]
mod tests;
