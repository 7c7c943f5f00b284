//! The first tasks of every plan: preflight; check, where images and a cluster follow; compile.

use std::time::Duration;

use super::{Action, Command, Content, Plan, Step, Task, TaskKind, images::podman, phase, task};
use crate::e2e::settings::{BuildOn, Settings};

/// Maximum duration of a compile; a cold one of everything takes minutes on two slow cores.
const COMPILE: Duration = Duration::from_mins(45);

/// Adds preflight, check and compile for a provider that runs images. The check comes first, so that a compile error
/// does not cost a cluster.
pub(super) fn for_images(settings: &Settings, plan: &mut Plan) {
    let services = settings.stack.packages();
    let mut steps = compile(settings);
    if settings.build != Some(BuildOn::Container)
        && let Some(build) = &settings.stack.build
        && !services.is_empty()
    {
        let otherwise = match settings.build {
            None => in_container(settings, &services),
            Some(_) => Vec::new(),
        };
        let check = Action::CheckGlibc {
            programs: services.iter().map(|package| settings.program(package)).collect(),
            glibc: build.glibc.get_ref().clone(),
            otherwise,
        };
        steps.push(check.into());
    }
    let packages = [services, scenarios(settings)].concat();
    let check = match packages.as_slice() {
        [] => Vec::new(),
        packages => vec![cargo(settings, "check", packages)],
    };
    plan.task(preflight());
    plan.task(task("check", TaskKind::Check, phase::FIRST, 5, check).needs("compile", 1));
    let compile = task("compile", TaskKind::Compile, phase::IMAGES, 20, steps);
    plan.task(compile.after_all(["preflight", "check"]).needs("compile", 1));
}

/// Adds preflight and compile for a provider that runs the programs themselves; `more` steps follow the compile.
pub(super) fn for_processes(settings: &Settings, plan: &mut Plan, more: Vec<Step>) {
    let steps = [compile(settings), more].concat();
    let compile = task("compile", TaskKind::Compile, phase::FIRST, 20, steps);
    plan.task(preflight());
    plan.task(compile.after("preflight").needs("compile", 1));
}

fn preflight() -> Task {
    let steps = vec![Action::Preflight.into()];
    task("preflight", TaskKind::Preflight, phase::FIRST, 1, steps)
}

/// Returns the package of the scenarios, which run on this machine on every provider.
fn scenarios(settings: &Settings) -> Vec<&str> {
    settings
        .stack
        .test
        .get_ref()
        .package
        .as_deref()
        .into_iter()
        .collect()
}

fn compile(settings: &Settings) -> Vec<Step> {
    let (services, scenarios) = (settings.stack.packages(), scenarios(settings));
    if settings.build == Some(BuildOn::Container) {
        return [on_host(settings, &scenarios), in_container(settings, &services)].concat();
    }
    on_host(settings, &[services, scenarios].concat())
}

/// Compiles a program of the workspace that is no service.
pub(super) fn program(settings: &Settings, package: &str) -> Task {
    let steps = on_host(settings, &[package]);
    task(
        format!("compile:{package}"),
        TaskKind::Compile,
        phase::FIRST,
        3,
        steps,
    )
    .after("preflight")
    .needs("compile", 1)
}

/// Compiles packages and copies the programs to the run's folder, so that a later build does not change the run.
fn on_host(settings: &Settings, packages: &[&str]) -> Vec<Step> {
    if packages.is_empty() {
        return Vec::new();
    }
    let copy = |package: &&str| {
        let compiled = settings.target.join("debug").join(package);
        Step::write(settings.program(package), Content::Copy(compiled))
    };
    let build = cargo(settings, "build", packages);
    [build].into_iter().chain(packages.iter().map(copy)).collect()
}

fn cargo(settings: &Settings, verb: &str, packages: &[&str]) -> Step {
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    let cargo = Command::new("cargo")
        .args([verb, "--locked"])
        .args(packages)
        .folder(&settings.workspace);
    Step::run(cargo).timeout(COMPILE)
}

/// Compiles the services in the builder image and copies the programs out.
fn in_container(settings: &Settings, packages: &[&str]) -> Vec<Step> {
    let Some(builder) = settings.stack.build.as_ref().filter(|_| !packages.is_empty()) else {
        return Vec::new();
    };
    let sources = settings.folder.join("sources");
    let image = format!("localhost/{}-builder:{}", settings.stack.stack.name, settings.run);
    let container = builder_container(settings);
    let build = podman()
        .args(["build", "--tag", &image, "--build-arg"])
        .args([format!("PACKAGES={}", packages.join(" "))])
        .args(["--file"])
        .path(&settings.stack.path(&builder.dockerfile))
        .path(&sources);
    let mut steps = vec![
        Step::write(sources, Content::Sources),
        Step::run(build).timeout(COMPILE),
        Step::run(podman().args(["create", "--name", &container, &image])),
    ];
    for package in packages {
        let from = format!("{container}:/out/{package}");
        let copy = podman().args(["cp", &from]).path(&settings.program(package));
        steps.push(Step::run(copy).timeout(Duration::from_mins(2)));
    }
    steps.push(Step::run(podman().args(["rm", "--force", &container])));
    steps.push(Step::run(podman().args(["rmi", &image])));
    steps
}

/// Removes the container that [`in_container`] copies the programs from.
pub(super) fn remove_builder(settings: &Settings) -> Step {
    let remove = podman().args(["rm", "--force", "--ignore", &builder_container(settings)]);
    Step::run(remove).timeout(Duration::from_mins(2))
}

fn builder_container(settings: &Settings) -> String {
    format!("{}-builder", settings.cluster())
}
