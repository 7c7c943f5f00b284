//! The tasks of the provider `cluster`: a namespace of its own in an existing cluster, and images through a registry.

use std::time::Duration;

use super::{
    Action, Command, Condition, Content, Plan, Program, Step, TagSource, Task, TaskKind, build, common,
    deploy,
    images::{self, podman},
    phase, task,
};
use crate::{
    e2e::{provider, settings::Settings},
    labels,
    removal::{CLUSTER_SCOPED, Removal, remove_namespace},
    workload::record_name,
};

pub(super) fn tasks(settings: &Settings, cluster: &provider::Cluster, plan: &mut Plan) {
    let stack = &settings.stack;
    build::for_images(settings, plan);
    images::pull_all(settings, plan);
    for service in stack.services.keys() {
        plan.task(images::image(settings, service.get_ref()));
    }
    plan.task(namespace(settings, cluster));
    for (name, component) in &stack.components {
        plan.task(push_component(settings, name.get_ref(), &component.image));
    }
    for service in stack.services.keys() {
        let push = push(settings, service.get_ref(), Vec::new());
        plan.task(push.after(format!("image:{service}")));
    }
    plan.task(base(settings));
    for name in stack.components.keys() {
        let forward = forward(settings, name.get_ref());
        let component = deploy::component(settings, name.get_ref(), forward);
        plan.task(component.after(images::load_name(name.get_ref())));
    }
    for name in common::entries_in_order(settings) {
        let forward = forward(settings, &name);
        plan.task(deploy::job_or_service(settings, &name, forward));
    }
    plan.task(common::test(settings));
    plan.task(deploy::collect(settings, Vec::new()));
    plan.task(teardown(settings));
}

/// Copies the kubeconfig's context to the run and creates its namespace. The task is named as on the other providers.
fn namespace(settings: &Settings, provider::Cluster { context, .. }: &provider::Cluster) -> Task {
    let (stack, run) = (&settings.stack.stack.name, &settings.run);
    let kubectl = || settings.kubectl();
    let exists = kubectl()
        .args(["get", "namespaces", "--output=name", &labels::made_by(stack, run)])
        .prints("namespace/");
    let create = kubectl()
        .args(["create", "--filename"])
        .path(&settings.rendered("namespace"));
    let view = Command::new("kubectl").args([
        "config",
        "view",
        "--minify",
        "--flatten",
        "--raw",
        "--context",
        context,
    ]);
    // The list of objects to remove is written before any is created.
    let cluster_scoped = settings.folder.join("manifests").join(CLUSTER_SCOPED);
    let steps = vec![
        Step::write(settings.kubeconfig(), Content::Kubeconfig(view)),
        common::write_namespace(settings, Some(labels::labels(stack, run))),
        Step::write(cluster_scoped, Content::ClusterScoped),
        Step::run(kubectl().args(["version", "--request-timeout=20s"])),
        Step::run(create).unless(exists),
    ];
    task("cluster", TaskKind::Cluster, phase::CLUSTER, 2, steps)
        .milestone("begun", Duration::ZERO)
        .after_all(["preflight", "check"])
}

/// Pushes a component's image, so that the cluster needs no other registry. Its tag is its content.
fn push_component(settings: &Settings, name: &str, image: &str) -> Task {
    let tag = Action::Tag {
        name: name.to_owned(),
        source: TagSource::ImageId(images::inspect(image)),
    };
    let rename = podman().args(["tag", image, &settings.image(name)]);
    push(settings, name, vec![tag.into(), Step::run(rename)]).after(images::pull_name(image))
}

fn push(settings: &Settings, name: &str, mut steps: Vec<Step>) -> Task {
    let push = podman().args(["push", "--quiet", &settings.image(name)]);
    steps.push(Step::run(push).timeout(images::TRANSFER));
    task(images::load_name(name), TaskKind::Load, phase::IMAGES, 4, steps)
        .after("preflight")
        .needs("network", 1)
}

/// Creates missing CRDs, and applies Services and secrets.
fn base(settings: &Settings) -> Task {
    let deploy::Base {
        mut steps,
        crds,
        others,
    } = deploy::render_base(settings);
    for crd in &crds {
        // An existing one may belong to another run or team: it stays unchanged.
        let kubectl = |verb| settings.kubectl().args([verb, "--filename"]).path(crd);
        let create = Action::Run {
            command: kubectl("create"),
            concurrent: true,
        };
        steps.push(Step::from(create).unless(kubectl("get").succeeds()));
    }
    steps.push(deploy::apply(settings, &others));
    deploy::base_task(settings, steps, &crds)
}

/// Forwards ports of this machine to an entry's pods.
fn forward(settings: &Settings, entry: &str) -> Vec<Step> {
    let ports = common::ports_of(settings, entry);
    if ports.is_empty() {
        return Vec::new();
    }
    let name = record_name(entry);
    let forward = Command::new(settings.own_program.display().to_string())
        .args(["forward", "--run"])
        .path(&settings.folder)
        .args([entry]);
    let start = Action::Start {
        name: name.clone(),
        program: Program::Command(forward),
    };
    let release = Action::ReleasePorts { ports: ports.clone() };
    let listens = Action::Wait(Condition::Ports { name, ports });
    [release, start, listens].map(Step::from).into()
}

fn teardown(settings: &Settings) -> Task {
    let Removal { always, crds } =
        remove_namespace(&settings.stack.stack.name, &settings.run, &settings.folder);
    let (others, remove_crds) = crds;
    let mut steps = vec![build::remove_builder(settings)];
    steps.extend(always.into_iter().map(Step::run));
    steps.push(Step::run(remove_crds).unless(others));
    let steps = steps.into_iter().map(|step| step.timeout(Duration::from_mins(2)));
    common::teardown(10, steps.collect())
}

#[cfg(test)]
mod tests {
    use taskgraph::Graph;

    use super::*;
    use crate::{
        e2e::settings::{Order, testing},
        run_folder::ProviderName,
    };

    fn text() -> String {
        super::super::commands(&super::super::make(&testing::settings(
            ProviderName::Cluster,
            Order::Graph,
        )))
    }

    #[test]
    fn plan_is_valid_in_every_order() {
        for order in [Order::Graph, Order::Phased, Order::Sequential] {
            let plan = super::super::make(&testing::settings(ProviderName::Cluster, order));
            assert!(Graph::new(plan).is_ok(), "{order}");
        }
    }

    #[test]
    fn user_kubeconfig_is_only_read_once() {
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
    fn deletes_only_objects_of_the_run() {
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
    fn pushes_all_images_to_the_registry() {
        let text = text();
        for name in ["postgresql", "redis", "datastorage", "gateway"] {
            let push =
                format!("podman push --quiet 'registry.example.com/team/kubernaut-{name}:<tag:{name}>'");
            assert!(text.contains(&push), "{push} is not in\n{text}");
        }
    }
}
