//! Images: pulled, and built with a content hash as their tag.

use std::time::Duration;

use super::{Action, Command, Content, Plan, Step, TagSource, Task, TaskKind, phase, task};
use crate::e2e::settings::Settings;

/// Maximum duration of a transfer from or to a registry.
pub(super) const TRANSFER: Duration = Duration::from_mins(15);

pub(super) fn podman() -> Command {
    Command::new("podman")
}

/// `registry/path/name:tag` → `pull:name`.
pub(super) fn pull_name(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    let name = name.split(['@', ':']).next().unwrap_or(name);
    format!("pull:{name}")
}

/// Name of the task that transfers an entry's image to where it runs.
pub(super) fn load_name(entry: &str) -> String {
    format!("load:{entry}")
}

/// Prints the id of an image.
pub(super) fn inspect(image: &str) -> Command {
    podman().args(["image", "inspect", "--format={{.Id}}", image])
}

/// Pulls the base images of the services and the images of the components.
pub(super) fn pull_all(settings: &Settings, plan: &mut Plan) {
    let components = settings.stack.components.values();
    let components = components.map(|component| &component.image);
    for image in settings.bases.values().chain(components) {
        pull(plan, image, phase::IMAGES);
    }
}

/// Pulls a missing image, once for all tasks that use it.
pub(super) fn pull(plan: &mut Plan, image: &str, phase: usize) {
    let name = pull_name(image);
    let exists = podman().args(["image", "exists", image]).succeeds();
    let pull = podman().args(["pull", "--quiet", image]);
    let step = Step::run(pull).unless(exists).timeout(TRANSFER);
    match plan.tasks.iter_mut().find(|task| task.name == name) {
        Some(task) if !task.action.steps.contains(&step) => task.action.steps.push(step),
        Some(_) => {}
        None => {
            let pull = task(name, TaskKind::Pull, phase, 1, vec![step]);
            plan.task(pull.after("preflight").needs("network", 1));
        }
    }
}

/// Builds a service's image.
pub(super) fn image(settings: &Settings, service: &str) -> Task {
    let stack = &settings.stack;
    let (package, dockerfile) = match stack.services.get(service) {
        Some(entry) => (entry.package.as_str(), stack.path(&entry.dockerfile)),
        None => (service, stack.folder.join("Dockerfile")),
    };
    let program = settings.program(package);
    let context = settings.folder.join("images").join(service);
    let base = settings.bases.get(service);
    let image = settings.image(service);
    let build = podman()
        .args(["build", "--pull=never", "--tag", &image, "--file"])
        .path(&dockerfile)
        .path(&context);
    let exists = podman().args(["image", "exists", &image]).succeeds();
    let tag = Action::Tag {
        name: service.to_owned(),
        source: TagSource::Hash {
            files: vec![program.clone(), dockerfile],
            outputs: base.map(|base| inspect(base)).into_iter().collect(),
        },
    };
    let steps = vec![
        tag.into(),
        Step::write(context.join(package), Content::Copy(program)),
        Step::run(build).unless(exists).timeout(Duration::from_mins(10)),
    ];
    task(
        format!("image:{service}"),
        TaskKind::Image,
        phase::IMAGES,
        4,
        steps,
    )
    .after("compile")
    .after_all(base.map(|base| pull_name(base)))
    .needs("images", 1)
}
