//! The tasks at the beginning of every plan: preflight, check where a cluster costs something, compile.

use std::path::PathBuf;

use super::{Command, Kind, Plan, Step, Task, phase, run, task};
use crate::e2e::settings::{BuildOn, Settings};

/// A cold compile of everything on two slow cores takes minutes; one that takes longer than this hangs.
const LONGEST_COMPILE: u64 = 45 * 60;

/// Adds preflight and compile; and check, where what follows is images and a cluster, which a typing error must not
/// cost.
pub(super) fn tasks(settings: &Settings, plan: &mut Plan, for_images: bool) {
    plan.task(task(
        "preflight",
        Kind::Preflight,
        phase::FIRST,
        1,
        vec![Step::Preflight],
    ));
    if for_images {
        plan.task(check(settings));
    }
    plan.task(compile(settings, for_images));
}

/// The package of the scenarios, which run here whatever the services run on.
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

fn check(settings: &Settings) -> Task {
    let packages = [settings.stack.packages(), scenarios(settings)].concat();
    let steps = vec![run(cargo(settings, "check", &packages), LONGEST_COMPILE)];
    task("check", Kind::Check, phase::FIRST, 5, steps).needs("compile", 1)
}

fn compile(settings: &Settings, for_images: bool) -> Task {
    let (services, on_host) = (settings.stack.packages(), scenarios(settings));
    let all = [services.clone(), on_host.clone()].concat();
    let mut steps = Vec::new();
    if settings.build == Some(BuildOn::Container) {
        if !on_host.is_empty() {
            steps.push(run(cargo(settings, "build", &on_host), LONGEST_COMPILE));
        }
        steps.extend(take(settings, &on_host));
        steps.extend(in_container(settings, &services));
    } else {
        steps.push(run(cargo(settings, "build", &all), LONGEST_COMPILE));
        steps.extend(take(settings, &all));
        if for_images {
            let forced = settings.build == Some(BuildOn::Host);
            steps.push(Step::Fits {
                programs: services.iter().map(|package| settings.program(package)).collect(),
                glibc: settings.stack.build.glibc.get_ref().clone(),
                otherwise: if forced {
                    Vec::new()
                } else {
                    in_container(settings, &services)
                },
            });
        }
    }
    let phase = if for_images { phase::IMAGES } else { phase::FIRST };
    let compile = task("compile", Kind::Compile, phase, 20, steps).after("preflight");
    let compile = if for_images {
        compile.after("check")
    } else {
        compile
    };
    compile.needs("compile", 1)
}

/// Compiles a program of the workspace that is no service.
pub(super) fn program(settings: &Settings, package: &str) -> Task {
    let mut steps = vec![run(cargo(settings, "build", &[package]), LONGEST_COMPILE)];
    steps.extend(take(settings, &[package]));
    task(
        format!("compile:{package}"),
        Kind::Compile,
        phase::FIRST,
        3,
        steps,
    )
    .after("preflight")
    .needs("compile", 1)
}

fn cargo(settings: &Settings, verb: &str, packages: &[&str]) -> Command {
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    Command::new("cargo")
        .args([verb, "--locked"])
        .args(packages)
        .folder(&settings.workspace)
}

/// Keeps what was compiled as it is now, whatever is compiled later.
fn take(settings: &Settings, packages: &[&str]) -> Vec<Step> {
    let step = |package: &&str| Step::Take {
        program: settings.target.join("debug").join(package),
        to: settings.program(package),
    };
    packages.iter().map(step).collect()
}

/// Compiles the services in the builder image and copies the programs out.
fn in_container(settings: &Settings, packages: &[&str]) -> Vec<Step> {
    let sources: PathBuf = settings.folder.join("sources");
    let image = format!("localhost/{}-builder:{}", settings.stack.stack.name, settings.run);
    let container = builder_container(settings);
    let podman = || Command::new("podman");
    let mut steps = vec![
        Step::Sources {
            folder: sources.clone(),
        },
        run(
            podman()
                .args(["build", "--tag", &image, "--build-arg"])
                .args([format!("PACKAGES={}", packages.join(" "))])
                .args(["--file"])
                .path(&settings.stack.path(&settings.stack.build.dockerfile))
                .path(&sources),
            LONGEST_COMPILE,
        ),
        run(podman().args(["create", "--name", &container, &image]), 60),
    ];
    for package in packages {
        let from = format!("{container}:/out/{package}");
        steps.push(run(
            podman().args(["cp", &from]).path(&settings.program(package)),
            120,
        ));
    }
    steps.push(run(podman().args(["rm", "--force", &container]), 60));
    steps.push(run(podman().args(["rmi", &image]), 60));
    steps
}

/// The container that programs are copied out of.
pub(super) fn builder_container(settings: &Settings) -> String {
    format!("{}-builder", settings.cluster())
}
