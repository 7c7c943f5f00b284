//! The tasks of the provider `cluster`: a namespace of its own in a cluster that is there already, images by a registry.

use std::time::Duration;

use super::{
    Command, Kind, Plan, Step, build, cluster, common, deploy,
    images::{self, podman},
    needed_tasks, phase, run, run_unless, task,
};
use crate::{
    e2e::settings::{Remote, Settings},
    labels,
    parts::record_name,
    removal::{CLUSTER_SCOPED, Removal, remove_namespace},
};

pub(super) fn tasks(settings: &Settings, remote: &Remote, plan: &mut Plan) {
    build::tasks(settings, plan, true);
    let components = settings.stack.components.values();
    let components = components.map(|component| &component.image);
    for image in settings.bases.values().chain(components) {
        images::pull(plan, image, phase::IMAGES);
    }
    for service in settings.stack.services.keys() {
        plan.task(images::image(settings, service.get_ref()));
    }
    plan.task(namespace(settings, remote));
    for (name, component) in &settings.stack.components {
        plan.task(push_component(settings, name.get_ref(), &component.image));
    }
    for service in settings.stack.services.keys() {
        let push = push(settings, service.get_ref(), Vec::new());
        plan.task(push.after(format!("image:{service}")));
    }
    plan.task(deploy::base(settings));
    for name in settings.stack.components.keys() {
        let mut steps = deploy::deploy(settings, name.get_ref(), None);
        steps.extend(forward(settings, name.get_ref()));
        let component = task(name.get_ref().clone(), Kind::Deploy, phase::IMAGES, 8, steps);
        let component = component.after("base").after(images::load_name(name.get_ref()));
        plan.task(component.after_all(needed_tasks(settings, name.get_ref())));
    }
    for name in common::entries_in_order(settings) {
        let mut task = deploy::job_or_service(settings, &name);
        let asked = |step: &Step| matches!(step, Step::Answers { .. });
        let before = task
            .action
            .steps
            .iter()
            .position(asked)
            .unwrap_or(task.action.steps.len());
        task.action.steps.splice(before..before, forward(settings, &name));
        plan.task(task);
    }
    plan.task(common::test(settings));
    let collect = vec![cluster::collect(settings)];
    plan.task(task("collect", Kind::Collect, phase::LAST, 2, collect).always());
    let Removal { always, crds } =
        remove_namespace(&settings.stack.stack.name, &settings.run, &settings.folder);
    let mut commands =
        vec![podman().args(["rm", "--force", "--ignore", &build::builder_container(settings)])];
    commands.extend(always);
    let teardown = Step::Teardown {
        commands,
        unless: Some(crds),
    };
    plan.task(task("teardown", Kind::Teardown, phase::LAST, 10, vec![teardown]).always());
}

/// The run's own copy of the way into the cluster, and its namespace. The task is called as on the other providers.
fn namespace(settings: &Settings, remote: &Remote) -> super::Task {
    let namespace = settings.rendered("namespace");
    let kubectl = || settings.kubectl();
    let ours = labels::made_by(&settings.stack.stack.name, &settings.run);
    let there = kubectl()
        .args(["get", "namespaces", "--output=name", &ours])
        .prints("namespace/");
    let steps = vec![
        Step::CopyContext {
            from: Command::new("kubectl").args([
                "config",
                "view",
                "--minify",
                "--flatten",
                "--raw",
                "--context",
                &remote.context,
            ]),
            to: settings.kubeconfig(),
        },
        Step::Write {
            to: namespace.clone(),
            text: common::namespace_object(settings),
        },
        // Before anything is made it is written what is to be removed.
        Step::ClusterScoped {
            to: settings.folder.join("manifests").join(CLUSTER_SCOPED),
        },
        run(kubectl().args(["version", "--request-timeout=20s"]), 30),
        run_unless(
            there,
            kubectl().args(["create", "--filename"]).path(&namespace),
            60,
        ),
    ];
    let task = task("cluster", Kind::Cluster, phase::CLUSTER, 2, steps).milestone("begun", Duration::ZERO);
    task.after_all(["preflight", "check"])
}

/// A component goes through the registry too, so that the cluster needs to reach no other. Its tag is its content.
fn push_component(settings: &Settings, name: &str, image: &str) -> super::Task {
    let inspect = podman().args(["image", "inspect", "--format={{.Id}}", image]);
    let steps = vec![
        Step::ImageTag {
            name: name.to_owned(),
            inspect,
        },
        run(podman().args(["tag", image, &settings.image(name)]), 60),
    ];
    push(settings, name, steps).after(images::pull_name(image))
}

fn push(settings: &Settings, name: &str, mut steps: Vec<Step>) -> super::Task {
    steps.push(run(
        podman().args(["push", "--quiet", &settings.image(name)]),
        900,
    ));
    let push = task(images::load_name(name), Kind::Load, phase::IMAGES, 4, steps);
    push.after("preflight").needs("network", 1)
}

/// Brings an entry's ports to this machine.
fn forward(settings: &Settings, name: &str) -> Vec<Step> {
    let ports = common::ports_of(settings, name);
    if ports.is_empty() {
        return Vec::new();
    }
    let command = Command::new(settings.own_program.display().to_string())
        .args(["forward", "--run"])
        .path(&settings.folder)
        .args([name]);
    vec![
        Step::Release { ports: ports.clone() },
        Step::Start {
            name: record_name(name),
            command,
        },
        Step::Listens {
            name: record_name(name),
            ports,
            seconds: 60,
        },
    ]
}

#[cfg(test)]
mod tests {
    use taskgraph::Graph;

    use super::*;
    use crate::{
        e2e::settings::{Order, testing},
        run_folder::Provider,
    };

    fn text() -> String {
        super::super::commands(&super::super::make(&testing::settings(
            Provider::Cluster,
            Order::Graph,
        )))
    }

    #[test]
    fn the_plan_holds_in_every_order() {
        for order in [Order::Graph, Order::Phased, Order::Sequential] {
            let plan = super::super::make(&testing::settings(Provider::Cluster, order));
            assert!(Graph::new(plan).is_ok(), "{order}");
        }
    }

    #[test]
    fn the_users_kubeconfig_is_read_once_and_never_used() {
        let text = text();
        let kubectl: Vec<&str> = text.lines().filter(|line| line.contains("kubectl ")).collect();
        let own = "kubectl --kubeconfig /target/e2e/run/kubeconfig ";
        let others: Vec<&&str> = kubectl.iter().filter(|line| !line.contains(own)).collect();
        assert_eq!(others.len(), 1, "{others:?}");
        assert!(
            others[0].contains("kubectl config view --minify --flatten --raw --context shared"),
            "{others:?}"
        );
    }

    #[test]
    fn only_what_the_run_made_is_deleted() {
        let text = text();
        let deletes: Vec<&str> = text.lines().filter(|line| line.contains(" delete ")).collect();
        assert_eq!(deletes.len(), 3, "{deletes:?}");
        for delete in deletes {
            assert!(
                delete.contains("xtask-e2e/stack=kubernaut") || delete.contains(CLUSTER_SCOPED),
                "{delete}"
            );
        }
        assert!(text.contains("delete --ignore-not-found '--timeout=100s' namespaces '--selector=app.kubernetes.io/managed-by=xtask-e2e,xtask-e2e/stack=kubernaut,xtask-e2e/run=run'"), "{text}");
    }

    #[test]
    fn all_images_go_through_the_registry() {
        let text = text();
        for name in ["postgresql", "redis", "datastorage", "gateway"] {
            let push =
                format!("podman push --quiet 'registry.example.com/team/kubernaut-{name}:<tag:{name}>'");
            assert!(text.contains(&push), "{push} is not in\n{text}");
        }
    }
}
