//! What the providers share.

use super::{Command, Kind, Step, phase, service_phase, tag_of, task};
use crate::{e2e::settings::Settings, labels};

/// The host ports of a component or service.
pub(super) fn ports_of(settings: &Settings, name: &str) -> Vec<u16> {
    settings
        .ports
        .get(name)
        .into_iter()
        .flatten()
        .map(|(_, port)| port.host)
        .collect()
}

pub(super) fn namespace_object(settings: &Settings) -> String {
    let mut object = serde_json::json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": settings.namespace()},
    });
    if settings.remote.is_some() {
        object["metadata"]["labels"] = labels::labels(&settings.stack.stack.name, &settings.run);
    }
    format!("{object:#}\n")
}

/// Jobs and services, each after those that it needs.
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

/// Waits until a service is ready as the version that was just built.
pub(super) fn answers(service: &str, health: &str) -> Step {
    Step::Answers {
        name: service.to_owned(),
        url: format!("{health}/readyz"),
        version: Some(tag_of(service)),
        seconds: 60,
    }
}

pub(super) fn test(settings: &Settings) -> super::Task {
    let steps = vec![
        Step::StackFile {
            to: settings.stack_file(),
        },
        Step::Scenarios {
            command: scenarios(settings),
        },
    ];
    let services = settings.stack.services.keys().map(|name| name.get_ref().clone());
    task("test", Kind::Test, phase::LAST, 60, steps).after_all(services)
}

fn scenarios(settings: &Settings) -> Command {
    let mut command = test_program(settings)
        .args(["run", "--format", "json", "--stack"])
        .path(&settings.stack_file());
    if let Some(shard) = &settings.shard {
        command = command.args(["--shard", shard]);
    }
    if let Some(jobs) = settings.jobs {
        command = command.args(["--jobs".to_owned(), jobs.to_string()]);
    }
    command.args(settings.filters.iter().cloned())
}

/// What `[test]` names: a program that was built with the services, or a command in the stack file's folder.
fn test_program(settings: &Settings) -> Command {
    let test = settings.stack.test.get_ref();
    if let Some(package) = &test.package {
        return Command::new(settings.program(package).display().to_string());
    }
    let mut words = test.command.iter();
    let program = words.next().cloned().unwrap_or_default();
    // A path is relative to the stack file, as all its paths are; a bare name is looked for in PATH.
    let program = if program.contains('/') {
        settings.stack.folder.join(program).display().to_string()
    } else {
        program
    };
    Command::new(program)
        .args(words.cloned())
        .folder(&settings.stack.folder)
}
