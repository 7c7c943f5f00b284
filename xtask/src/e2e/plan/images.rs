//! Images: fetched, built with a content hash as their tag, streamed into the node.

use std::collections::BTreeSet;

use super::{Command, Kind, Plan, Step, phase, run_unless, task};
use crate::e2e::settings::Settings;

/// Where containerd keeps what Kubernetes runs.
pub(super) const NAMESPACE: &str = "--namespace=k8s.io";

pub(super) fn podman() -> Command {
    Command::new("podman")
}

/// `registry/path/name:tag` → `pull:name`.
pub(super) fn pull_name(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    let name = name.split(['@', ':']).next().unwrap_or(name);
    format!("pull:{name}")
}

/// The task that brings an entry's image to where it runs.
pub(super) fn load_name(entry: &str) -> String {
    format!("load:{entry}")
}

/// Fetches an image that is not here, once however many use it.
pub(super) fn pull(plan: &mut Plan, image: &str, phase: usize) {
    let name = pull_name(image);
    let exists = podman().args(["image", "exists", image]).succeeds();
    let step = run_unless(exists, podman().args(["pull", "--quiet", image]), 900);
    match plan.tasks.iter_mut().find(|task| task.name == name) {
        Some(task) if !task.action.steps.contains(&step) => task.action.steps.push(step),
        Some(_) => {}
        None => {
            let pull = task(name, Kind::Pull, phase, 1, vec![step]);
            plan.task(pull.after("preflight").needs("network", 1));
        }
    }
}

pub(super) fn image(settings: &Settings, service: &str) -> super::Task {
    let stack = &settings.stack;
    let (program, dockerfile) = match stack.services.get(service) {
        Some(entry) => (settings.program(&entry.package), stack.path(&entry.dockerfile)),
        None => (settings.program(service), stack.folder.join("Dockerfile")),
    };
    let folder = settings.folder.join("images").join(service);
    let base = settings.bases.get(service);
    let inspect = |base: &String| podman().args(["image", "inspect", "--format={{.Id}}", base]);
    let image = settings.image(service);
    let build = podman()
        .args(["build", "--pull=never", "--tag", &image, "--file"])
        .path(&dockerfile)
        .path(&folder);
    let steps = vec![
        Step::Tag {
            service: service.to_owned(),
            program: program.clone(),
            dockerfile: Some(dockerfile.clone()),
            base: base.map(inspect),
        },
        Step::Stage { program, folder },
        run_unless(podman().args(["image", "exists", &image]).succeeds(), build, 600),
    ];
    let task = task(format!("image:{service}"), Kind::Image, phase::IMAGES, 4, steps);
    task.after("compile")
        .after_all(base.map(|base| pull_name(base)))
        .needs("images", 1)
}

/// Streams images into the node as one archive, unless the node has them all: what they share is sent once.
pub(super) fn load<'a>(
    settings: &Settings,
    name: &str,
    images: impl IntoIterator<Item = &'a str>,
) -> super::Task {
    let node = settings.node();
    let images: BTreeSet<&str> = images.into_iter().collect();
    let filters = images.iter().map(|image| format!("name=={image}"));
    let listed = podman()
        .args(["exec", &node, "ctr", NAMESPACE, "images", "list", "--quiet"])
        .args(filters);
    // It lists them by name, a line each.
    let all: Vec<&str> = images.iter().copied().collect();
    let import = podman().args([
        "exec",
        "--interactive",
        &node,
        "ctr",
        NAMESPACE,
        "images",
        "import",
        "--snapshotter=overlayfs",
        "-",
    ]);
    let stream = Step::Pipe {
        from: podman().args(["save", "--multi-image-archive"]).args(images),
        into: import,
        unless: Some(listed.prints(all.join("\n"))),
        seconds: 600,
    };
    task(load_name(name), Kind::Load, phase::IMAGES, 4, vec![stream])
        .after("node")
        .needs("images", 1)
}
