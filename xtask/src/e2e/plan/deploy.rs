//! What is deployed into a cluster: applied, and waited for until it is ready.

use std::path::PathBuf;

use super::{Command, Kind, Step, common::answers, needed_tasks, phase, run, service_phase, task};
use crate::e2e::settings::Settings;

/// Namespace, CRDs, secrets and Services, in one call and in this order.
pub(super) fn base(settings: &Settings) -> super::Task {
    let stack = &settings.stack;
    let namespace = settings.rendered("namespace");
    let secrets = settings.rendered("secrets");
    let mut steps = vec![
        Step::Write {
            to: namespace.clone(),
            text: super::common::namespace_object(settings),
        },
        Step::Secrets {
            to: secrets.clone(),
            as_object: true,
        },
    ];
    let mut crds = Vec::new();
    let mut files = Vec::new();
    if settings.remote.is_none() {
        files.push(namespace);
    }
    for (name, _) in stack
        .manifests()
        .filter(|(name, _)| !stack.jobs.contains_key(*name))
    {
        let is_crd = stack.crds.contains_key(name);
        let to = settings.rendered(&if is_crd {
            name.to_owned()
        } else {
            format!("{name}-service")
        });
        let kinds = if is_crd {
            Vec::new()
        } else {
            vec!["Service".to_owned()]
        };
        steps.push(Step::Render {
            entry: name.to_owned(),
            kinds,
            to: to.clone(),
        });
        match (is_crd, settings.remote.is_some()) {
            (true, true) => {
                // One that is there may be somebody else's, or another run's: it stays as it is.
                let kubectl = || settings.kubectl();
                steps.push(Step::Create {
                    there: kubectl().args(["get", "--filename"]).path(&to).succeeds(),
                    command: kubectl().args(["create", "--filename"]).path(&to),
                });
            }
            _ => files.push(to.clone()),
        }
        if is_crd {
            crds.push(to);
        }
    }
    files.push(secrets);
    steps.push(run(apply(settings, &files), 120));
    if !crds.is_empty() {
        let wait = settings
            .kubectl()
            .args(["wait", "--for=condition=Established", "--timeout=60s"]);
        steps.push(run(with_files(wait, &crds), 70));
    }
    task("base", Kind::Deploy, phase::CLUSTER, 2, steps).after("cluster")
}

fn apply(settings: &Settings, files: &[PathBuf]) -> Command {
    with_files(settings.kubectl().args(["apply"]), files)
}

fn with_files(command: Command, files: &[PathBuf]) -> Command {
    files
        .iter()
        .fold(command, |command, file| command.args(["--filename"]).path(file))
}

/// Applies an entry's manifest, after the configuration of its service, and waits until its workload is ready.
pub(super) fn deploy(settings: &Settings, name: &str, service: Option<&str>) -> Vec<Step> {
    let manifest = settings.rendered(name);
    let mut steps = vec![Step::Render {
        entry: name.to_owned(),
        kinds: Vec::new(),
        to: manifest.clone(),
    }];
    let mut files = vec![manifest];
    if let Some(service) = service {
        let to = settings.rendered(&format!("{name}-config"));
        steps.push(Step::Config {
            service: service.to_owned(),
            to: to.clone(),
            as_object: true,
        });
        files.insert(0, to);
    }
    steps.push(run(apply(settings, &files), 120));
    steps.push(Step::Ready {
        entry: name.to_owned(),
        get: settings.kubectl_here().args([
            "get",
            "deployments,statefulsets,jobs,replicasets,pods",
            "--output=json",
        ]),
        logs: settings
            .kubectl_here()
            .args(["logs", "--all-containers", "--tail=30"]),
        seconds: 180,
    });
    steps
}

pub(super) fn job_or_service(settings: &Settings, name: &str) -> super::Task {
    let service = settings
        .stack
        .jobs
        .get(name)
        .map_or(name, |job| job.service.get_ref().as_str());
    let is_job = service != name;
    let mut steps = deploy(settings, name, Some(service));
    if let Some(url) = settings.url(name, "health").filter(|_| !is_job) {
        steps.push(answers(name, &url));
    }
    let task = task(name, Kind::Deploy, service_phase(settings, service), 3, steps);
    task.after("base")
        .after(format!("load:{service}"))
        .after_all(needed_tasks(settings, name))
}
