//! Deployments into a cluster: manifests are applied, and workloads are waited for until they are ready.

use std::{path::PathBuf, time::Duration};

use super::{
    Action, Command, Condition, Content, Step, Task, TaskKind, common::ready, images, needed_tasks, phase,
    service_phase, task,
};
use crate::e2e::settings::Settings;

/// The rendered manifests that everything else needs.
pub(super) struct Base {
    /// The steps that render them.
    pub(super) steps: Vec<Step>,
    pub(super) crds: Vec<PathBuf>,
    /// Services and secrets.
    pub(super) others: Vec<PathBuf>,
}

/// Renders CRDs, Services and secrets.
pub(super) fn render_base(settings: &Settings) -> Base {
    let stack = &settings.stack;
    let secrets = settings.rendered("secrets");
    let mut base = Base {
        steps: vec![Step::write(&secrets, Content::Secret)],
        crds: Vec::new(),
        others: Vec::new(),
    };
    for (name, _) in stack.manifests() {
        let entry = name.to_owned();
        if stack.jobs.contains_key(name) {
            continue;
        } else if stack.crds.contains_key(name) {
            let (to, kinds) = (settings.rendered(name), Vec::new());
            base.steps
                .push(Step::write(&to, Content::Manifest { entry, kinds }));
            base.crds.push(to);
        } else {
            let to = settings.rendered(&format!("{name}-service"));
            let kinds = vec!["Service".to_owned()];
            base.steps
                .push(Step::write(&to, Content::Manifest { entry, kinds }));
            base.others.push(to);
        }
    }
    base.others.push(secrets);
    base
}

/// Returns the task that applies the rendered base.
pub(super) fn base_task(settings: &Settings, mut steps: Vec<Step>, crds: &[PathBuf]) -> Task {
    if !crds.is_empty() {
        let wait = settings
            .kubectl()
            .args(["wait", "--for=condition=Established", "--timeout=60s"]);
        steps.push(Step::run(with_files(wait, crds)).timeout(Duration::from_secs(70)));
    }
    task("base", TaskKind::Deploy, phase::CLUSTER, 2, steps).after("cluster")
}

pub(super) fn apply(settings: &Settings, files: &[PathBuf]) -> Step {
    let apply = with_files(settings.kubectl().args(["apply"]), files);
    Step::run(apply).timeout(Duration::from_mins(2))
}

fn with_files(command: Command, files: &[PathBuf]) -> Command {
    files
        .iter()
        .fold(command, |command, file| command.args(["--filename"]).path(file))
}

/// Applies an entry's manifest, after the configuration of its service, and waits until its workload is ready.
fn deploy(settings: &Settings, name: &str, service: Option<&str>) -> Vec<Step> {
    let entry = name.to_owned();
    let manifest = settings.rendered(name);
    let kinds = Vec::new();
    let render = Content::Manifest {
        entry: entry.clone(),
        kinds,
    };
    let mut steps = vec![Step::write(&manifest, render)];
    let mut files = vec![manifest];
    if let Some(service) = service {
        let to = settings.rendered(&format!("{name}-config"));
        let service = service.to_owned();
        steps.push(Step::write(&to, Content::ConfigMap { service }));
        files.insert(0, to);
    }
    steps.push(apply(settings, &files));
    let workloads = "deployments,statefulsets,jobs,replicasets,pods";
    let here = || settings.kubectl_here();
    let ready = Condition::Workload {
        entry,
        get: here().args(["get", workloads, "--output=json"]),
        logs: here().args(["logs", "--all-containers", "--tail=30"]),
    };
    steps.push(Step::from(Action::Wait(ready)).timeout(Duration::from_mins(3)));
    steps
}

/// Deploys a component; `more` steps follow.
pub(super) fn component(settings: &Settings, name: &str, more: Vec<Step>) -> Task {
    let steps = [deploy(settings, name, None), more].concat();
    task(name, TaskKind::Deploy, phase::IMAGES, 8, steps)
        .after("base")
        .after_all(needed_tasks(settings, name))
}

/// Deploys a job or service; `more` steps precede the wait for the service's health endpoint.
pub(super) fn job_or_service(settings: &Settings, name: &str, more: Vec<Step>) -> Task {
    let job = settings.stack.jobs.get(name);
    let service = job.map_or(name, |job| job.service.get_ref().as_str());
    let mut steps = [deploy(settings, name, Some(service)), more].concat();
    if let Some(url) = settings.url(name, "health") {
        steps.push(ready(name, &url));
    }
    task(name, TaskKind::Deploy, service_phase(settings, service), 3, steps)
        .after("base")
        .after(images::load_name(service))
        .after_all(needed_tasks(settings, name))
}

/// Saves events, descriptions and logs of the run's namespace, after what `more` commands print.
pub(super) fn collect(settings: &Settings, more: Vec<(&str, Command)>) -> Task {
    let here = || settings.kubectl_here();
    let mut commands: Vec<(String, Command)> = more
        .into_iter()
        .chain([
            ("nodes.txt", settings.kubectl().args(["describe", "nodes"])),
            (
                "events.txt",
                here().args(["get", "events", "--sort-by=.lastTimestamp"]),
            ),
            (
                "objects.txt",
                here().args(["get", "all,configmaps,secrets", "--output=wide"]),
            ),
            ("describe.txt", here().args(["describe", "pods"])),
        ])
        .map(|(file, command)| (file.to_owned(), command))
        .collect();
    let stack = &settings.stack;
    let entries = stack.components.keys().chain(stack.jobs.keys());
    for name in entries.chain(stack.services.keys()) {
        let select = format!("--selector=app.kubernetes.io/name={name}");
        let logs = here().args(["logs", "--all-containers", "--prefix", "--tail=-1", &select]);
        commands.push((format!("{name}.log"), logs.clone()));
        commands.push((format!("{name}-previous.log"), logs.args(["--previous"])));
    }
    let steps = vec![Action::Collect { commands }.into()];
    task("collect", TaskKind::Collect, phase::LAST, 2, steps).always()
}
