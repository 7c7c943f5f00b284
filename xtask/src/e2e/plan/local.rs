//! The tasks of the provider `local`: everything as processes of this machine, no container needed.

use super::{Command, Kind, Plan, Step, build, common, needed_tasks, phase, run, service_phase, task};
use crate::{e2e::settings::Settings, parts::KUBERNETES};

/// The package and program that answers as the Kubernetes API.
pub(crate) const KUBE_EMBEDDED: &str = "kube-embedded";

/// Objects that mean something only where something runs pods.
const WITHOUT_PODS: [&str; 7] = [
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
];

pub(super) fn tasks(settings: &Settings, plan: &mut Plan) {
    build::tasks(settings, plan, false);
    if let Some(compile) = plan.tasks.iter_mut().find(|task| task.name == "compile") {
        compile.action.steps.extend(tags(settings));
    }
    if settings.kube_embedded.is_none() {
        plan.task(build::program(settings, KUBE_EMBEDDED));
    }
    plan.task(cluster(settings));
    plan.task(base(settings));
    for name in settings.stack.components.keys() {
        let ports = common::ports_of(settings, name.get_ref());
        let steps = vec![
            Step::Release { ports },
            Step::Embedded {
                name: name.get_ref().clone(),
            },
        ];
        let component = task(name.get_ref().clone(), Kind::Deploy, phase::IMAGES, 2, steps);
        plan.task(
            component
                .after("compile")
                .after_all(needed_tasks(settings, name.get_ref())),
        );
    }
    for name in common::entries_in_order(settings) {
        plan.task(job_or_service(settings, &name));
    }
    plan.task(common::test(settings));
    plan.task(
        task(
            "teardown",
            Kind::Teardown,
            phase::LAST,
            1,
            vec![Step::Teardown {
                commands: Vec::new(),
                unless: None,
            }],
        )
        .always(),
    );
}

/// The embedded Kubernetes API. Its journal makes its restart that of a real one.
fn cluster(settings: &Settings) -> super::Task {
    let port = settings.api_port;
    let serve = Command::new(settings.program(KUBE_EMBEDDED).display().to_string())
        .args([
            "serve".to_owned(),
            "--listen".to_owned(),
            format!("127.0.0.1:{port}"),
            "--kubeconfig".to_owned(),
        ])
        .path(&settings.kubeconfig())
        .args(["--journal"])
        .path(&settings.folder.join("data").join(KUBERNETES).join("journal"))
        .folder(&settings.folder);
    let mut steps = vec![Step::Release { ports: vec![port] }];
    steps.extend(settings.kube_embedded.iter().map(|installed| Step::Take {
        program: installed.clone(),
        to: settings.program(KUBE_EMBEDDED),
    }));
    steps.extend([
        Step::Start {
            name: KUBERNETES.to_owned(),
            command: serve,
        },
        Step::Answers {
            name: KUBERNETES.to_owned(),
            url: format!("http://127.0.0.1:{port}/readyz"),
            version: None,
            seconds: 30,
        },
    ]);
    let cluster = task("cluster", Kind::Cluster, phase::CLUSTER, 1, steps);
    match settings.kube_embedded {
        // It starts in a tenth of a second: beside a compile that may fail it would only be something to remove.
        Some(_) => cluster.after("compile"),
        None => cluster.after(format!("compile:{KUBE_EMBEDDED}")),
    }
}

fn tags(settings: &Settings) -> Vec<Step> {
    let tag = |(service, program): (&String, &String)| Step::Tag {
        service: service.clone(),
        program: settings.program(program),
        dockerfile: None,
        base: None,
    };
    settings
        .stack
        .services
        .iter()
        .map(|(name, service)| tag((name.get_ref(), &service.package)))
        .collect()
}

/// Namespace, CRDs, the services' accounts and rights, and the secrets as files.
fn base(settings: &Settings) -> super::Task {
    let namespace = settings.rendered("namespace");
    let mut steps = vec![
        Step::Secrets {
            to: settings.folder.join("secrets"),
            as_object: false,
        },
        Step::Write {
            to: namespace.clone(),
            text: common::namespace_object(settings),
        },
        Step::Put { file: namespace },
    ];
    for (name, _) in settings.stack.manifests() {
        let to = settings.rendered(name);
        let kinds = WITHOUT_PODS.map(str::to_owned).to_vec();
        steps.push(Step::Render {
            entry: name.to_owned(),
            kinds,
            to: to.clone(),
        });
        steps.push(Step::Put { file: to });
    }
    task("base", Kind::Deploy, phase::CLUSTER, 1, steps).after("cluster")
}

fn job_or_service(settings: &Settings, name: &str) -> super::Task {
    let job = settings.stack.jobs.get(name);
    let service = job.map_or(name, |job| job.service.get_ref().as_str());
    let package = settings
        .stack
        .services
        .get(service)
        .map_or(service, |entry| entry.package.as_str());
    let config = settings.config(service);
    let program = Command::new(settings.program(package).display().to_string())
        .env("SERVICE_VERSION", super::tag_of(service))
        .folder(&settings.folder);
    let mut steps = vec![Step::Config {
        service: service.to_owned(),
        to: config.clone(),
        as_object: false,
    }];
    match job {
        Some(job) => steps.push(run(
            program
                .args(job.args.iter().cloned())
                .args(["--config"])
                .path(&config),
            120,
        )),
        None => {
            steps.push(Step::Release {
                ports: common::ports_of(settings, name),
            });
            let command = program.args(["serve", "--config"]).path(&config);
            steps.push(Step::Start {
                name: name.to_owned(),
                command,
            });
            if let Some(url) = settings.url(name, "health") {
                steps.push(common::answers(name, &url));
            }
        }
    }
    let task = task(name, Kind::Deploy, service_phase(settings, service), 1, steps);
    task.after_all(["base", "compile"])
        .after_all(needed_tasks(settings, name))
}
