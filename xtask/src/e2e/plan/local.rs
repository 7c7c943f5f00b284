//! The tasks of the provider `local`: everything runs as processes of this machine, without containers.

use std::time::Duration;

use super::{
    Action, Command, Condition, Content, Plan, Program, Step, TagSource, Task, TaskKind, build, common,
    needed_tasks, phase, service_phase, task,
};
use crate::{
    e2e::{provider, settings::Settings},
    workload::KUBERNETES,
};

/// Package and program of the embedded Kubernetes API.
pub(crate) const KUBE_EMBEDDED: &str = "kube-embedded";

/// Kinds of objects that have an effect without pods.
const WITHOUT_PODS: [&str; 7] = [
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
];

pub(super) fn tasks(settings: &Settings, local: &provider::Local, plan: &mut Plan) {
    build::for_processes(settings, plan, tags(settings));
    if local.kube_embedded.is_none() {
        plan.task(build::program(settings, KUBE_EMBEDDED));
    }
    plan.task(cluster(settings, local));
    plan.task(base(settings));
    for name in settings.stack.components.keys() {
        plan.task(component(settings, name.get_ref()));
    }
    for name in common::entries_in_order(settings) {
        plan.task(job_or_service(settings, &name));
    }
    plan.task(common::test(settings));
    plan.task(common::teardown(1, Vec::new()));
}

fn start(name: &str, program: Program) -> Step {
    let name = name.to_owned();
    Action::Start { name, program }.into()
}

/// The embedded Kubernetes API. With its journal it keeps its objects over a restart, like a real one.
fn cluster(settings: &Settings, local: &provider::Local) -> Task {
    let port = local.api_port;
    let serve = Command::new(settings.program(KUBE_EMBEDDED).display().to_string())
        .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--kubeconfig"])
        .path(&settings.kubeconfig())
        .args(["--journal"])
        .path(&settings.folder.join("data").join(KUBERNETES).join("journal"))
        .folder(&settings.folder);
    let ready = Condition::Http {
        name: KUBERNETES.to_owned(),
        url: format!("http://127.0.0.1:{port}/readyz"),
        version: None,
    };
    let mut steps = vec![Action::ReleasePorts { ports: vec![port] }.into()];
    let installed = local.kube_embedded.clone().map(Content::Copy);
    steps.extend(installed.map(|copy| Step::write(settings.program(KUBE_EMBEDDED), copy)));
    steps.push(start(KUBERNETES, Program::Command(serve)));
    steps.push(Step::from(Action::Wait(ready)).timeout(Duration::from_secs(30)));
    let cluster = task("cluster", TaskKind::Cluster, phase::CLUSTER, 1, steps);
    match local.kube_embedded {
        // It starts in a tenth of a second: started before a compile that fails, it would only have to be removed.
        Some(_) => cluster.after("compile"),
        None => cluster.after(format!("compile:{KUBE_EMBEDDED}")),
    }
}

fn tags(settings: &Settings) -> Vec<Step> {
    let services = settings.stack.services.iter();
    services
        .map(|(name, service)| {
            let source = TagSource::Hash {
                files: vec![settings.program(&service.package)],
                outputs: Vec::new(),
            };
            let name = name.get_ref().clone();
            Action::Tag { name, source }.into()
        })
        .collect()
}

/// Namespace, CRDs, and the services' accounts and permissions.
fn base(settings: &Settings) -> Task {
    let namespace = settings.rendered("namespace");
    let mut steps = vec![
        common::write_namespace(settings, None),
        Action::Put { file: namespace }.into(),
    ];
    for (name, _) in settings.stack.manifests() {
        let file = settings.rendered(name);
        let manifest = Content::Manifest {
            entry: name.to_owned(),
            kinds: WITHOUT_PODS.map(str::to_owned).to_vec(),
        };
        steps.push(Step::write(&file, manifest));
        steps.push(Action::Put { file }.into());
    }
    task("base", TaskKind::Deploy, phase::CLUSTER, 1, steps).after("cluster")
}

fn component(settings: &Settings, name: &str) -> Task {
    let ports = common::ports_of(settings, name);
    let steps = vec![
        Action::ReleasePorts { ports }.into(),
        start(name, Program::Embedded),
    ];
    task(name, TaskKind::Deploy, phase::IMAGES, 2, steps)
        .after("compile")
        .after_all(needed_tasks(settings, name))
}

fn job_or_service(settings: &Settings, name: &str) -> Task {
    let stack = &settings.stack;
    let job = stack.jobs.get(name);
    let service = job.map_or(name, |job| job.service.get_ref().as_str());
    let entry = stack.services.get(service);
    let package = entry.map_or(service, |entry| entry.package.as_str());
    let config = settings.config(service);
    let program = Command::new(settings.program(package).display().to_string())
        .env("SERVICE_VERSION", super::tag_of(service))
        .folder(&settings.folder);
    let content = Content::Config {
        service: service.to_owned(),
    };
    let mut steps = vec![Step::write(&config, content)];
    match job {
        Some(job) => {
            let run = program.args(job.args.iter().cloned());
            let run = Step::run(run.args(["--config"]).path(&config));
            steps.push(run.timeout(Duration::from_mins(2)));
        }
        None => {
            let ports = common::ports_of(settings, name);
            steps.push(Action::ReleasePorts { ports }.into());
            let serve = program.args(["serve", "--config"]).path(&config);
            steps.push(start(name, Program::Command(serve)));
            steps.extend(settings.url(name, "health").map(|url| common::ready(name, &url)));
        }
    }
    task(name, TaskKind::Deploy, service_phase(settings, service), 1, steps)
        .after_all(["base", "compile"])
        .after_all(needed_tasks(settings, name))
}
