//! Parts that the plans of all providers share.

use std::time::Duration;

use serde_json::Value;

use super::{Action, Command, Condition, Content, Step, Task, TaskKind, phase, service_phase, tag_of, task};
use crate::e2e::settings::Settings;

/// Returns the host ports of a component or service.
pub(super) fn ports_of(settings: &Settings, name: &str) -> Vec<u16> {
    let ports = settings.ports.get(name).into_iter().flatten();
    ports.map(|(_, port)| port.host).collect()
}

/// Writes the Namespace object, with `labels` if given.
pub(super) fn write_namespace(settings: &Settings, labels: Option<Value>) -> Step {
    let mut object = serde_json::json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": settings.namespace()},
    });
    if let Some(labels) = labels {
        object["metadata"]["labels"] = labels;
    }
    Step::write(
        settings.rendered("namespace"),
        Content::Text(format!("{object:#}\n")),
    )
}

/// Returns jobs and services in dependency order.
pub(super) fn entries_in_order(settings: &Settings) -> Vec<String> {
    let jobs = settings
        .stack
        .jobs
        .iter()
        .map(|(name, job)| (name, service_phase(settings, job.service.get_ref()), 0));
    let services = settings
        .stack
        .services
        .keys()
        .map(|name| (name, service_phase(settings, name.get_ref()), 1));
    let mut entries: Vec<_> = jobs.chain(services).collect();
    entries.sort_by_key(|(name, phase, rank)| (*phase, *rank, name.get_ref().clone()));
    entries
        .into_iter()
        .map(|(name, ..)| name.get_ref().clone())
        .collect()
}

/// Waits until a service is ready in the version that was just built.
pub(super) fn ready(service: &str, health: &str) -> Step {
    Action::Wait(Condition::Http {
        name: service.to_owned(),
        url: format!("{health}/readyz"),
        version: Some(tag_of(service)),
    })
    .into()
}

pub(super) fn test(settings: &Settings) -> Task {
    let command = scenarios(settings, &settings.filters);
    let steps = vec![
        Step::write(settings.stack_file(), Content::StackFile),
        Step::from(Action::Scenarios { command }).timeout(SUITE * settings.rounds.at_most()),
    ];
    // Also what no service needs: the scenarios have the addresses of all.
    let stack = &settings.stack;
    let entries: Vec<&String> = stack
        .names()
        .map(|name| name.get_ref())
        .filter(|name| stack.role(name).is_some())
        .collect();
    let is_needed = |name: &&String| {
        let mut others = entries.iter();
        !stack.services.contains_key(name.as_str())
            && others.any(|other| stack.needs(other).iter().any(|need| need.get_ref() == *name))
    };
    let last = entries.iter().copied().filter(|name| !is_needed(name));
    let task = task("test", TaskKind::Test, phase::LAST, 60, steps).after_all(last.cloned());
    match stack.services.is_empty() {
        true => task.after_all(["base", "compile"]),
        false => task,
    }
}

/// Returns the last task, with its expected duration in seconds.
pub(super) fn teardown(seconds: u64, steps: Vec<Step>) -> Task {
    let steps = vec![Action::Teardown { steps }.into()];
    task("teardown", TaskKind::Teardown, phase::LAST, seconds, steps).always()
}

/// Maximum duration of a whole suite, which takes minutes on a slow machine.
const SUITE: Duration = Duration::from_mins(40);

/// Returns the command that runs the scenarios whose names contain a filter.
pub(crate) fn scenarios(settings: &Settings, filters: &[String]) -> Command {
    let mut command = test_program(settings)
        .args(["run", "--format", "json", "--stack"])
        .path(&settings.stack_file());
    if let Some(shard) = &settings.shard {
        command = command.args(["--shard", shard]);
    }
    if let Some(jobs) = settings.jobs {
        command = command.args(["--jobs".to_owned(), jobs.to_string()]);
    }
    command.args(filters.iter().cloned())
}

/// Returns the command of `[test]`: a program that was built with the services, or a command in the stack file's
/// folder.
fn test_program(settings: &Settings) -> Command {
    let test = settings.stack.test.get_ref();
    if let Some(package) = &test.package {
        return Command::new(settings.program(package).display().to_string());
    }
    let mut words = test.command.iter();
    let program = words.next().cloned().unwrap_or_default();
    // A path is relative to the stack file, like all of its paths; a bare name is searched in PATH.
    let program = if program.contains('/') {
        settings.stack.folder.join(program).display().to_string()
    } else {
        program
    };
    Command::new(program)
        .args(words.cloned())
        .folder(&settings.stack.folder)
}
