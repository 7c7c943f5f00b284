//! The tasks of the provider `kind`: a cluster of its own in podman, and images streamed into its node.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Action, Command, Condition, Content, Plan, Step, Task, TaskKind, build, common, deploy,
    images::{self, podman, pull_name},
    phase, task,
};
use crate::{
    e2e::{provider, settings::Settings},
    removal::remove_cluster,
};

/// Namespace of containerd in which Kubernetes keeps its images.
const NAMESPACE: &str = "--namespace=k8s.io";

pub(super) fn tasks(settings: &Settings, kind: &provider::Kind, plan: &mut Plan) {
    let stack = &settings.stack;
    build::for_images(settings, plan);
    images::pull_all(settings, plan);
    if let Some(image) = &kind.node_image {
        images::pull(plan, image, phase::CLUSTER);
    }
    for service in stack.services.keys() {
        plan.task(images::image(settings, service.get_ref()));
    }
    plan.task(cluster(settings, kind));
    plan.task(node(settings));
    plan.task(dns(settings));
    // One archive for all components: databases of one maker share most of their layers.
    let components: Vec<&str> = stack
        .components
        .values()
        .map(|component| component.image.as_str())
        .collect();
    if !components.is_empty() {
        let pulled: Vec<_> = components.iter().map(|image| pull_name(image)).collect();
        plan.task(load(settings, "components", components).after_all(pulled));
    }
    for service in stack.services.keys() {
        let image = settings.image(service.get_ref());
        let load = load(settings, service.get_ref(), [image.as_str()]);
        plan.task(load.after(format!("image:{service}")));
    }
    plan.task(base(settings));
    for name in stack.components.keys() {
        let component = deploy::component(settings, name.get_ref(), Vec::new());
        let component = component.after(images::load_name("components"));
        plan.task(match stack.needs(name.get_ref()) {
            [] => component,
            _ => component.after(DNS),
        });
    }
    for name in common::entries_in_order(settings) {
        plan.task(deploy::job_or_service(settings, &name, Vec::new()).after(DNS));
    }
    plan.task(common::test(settings));
    plan.task(collect(settings));
    let removals = remove_cluster(&settings.cluster()).map(Step::run);
    let removals = removals.map(|step| step.timeout(Duration::from_mins(2)));
    let steps = [build::remove_builder(settings)].into_iter().chain(removals);
    plan.task(common::teardown(3, steps.collect()));
}

fn cluster(settings: &Settings, kind: &provider::Kind) -> Task {
    let config = settings.folder.join("kind.yaml");
    let name = settings.cluster();
    // A network of its own: the common one would stay behind, and could not be removed beside another run.
    let mut create = Command::new("kind")
        .env("KIND_EXPERIMENTAL_PROVIDER", "podman")
        .env("KIND_EXPERIMENTAL_PODMAN_NETWORK", &name)
        .args(["create", "cluster", "--retain", "--wait", "0s"]);
    if let Some(image) = &kind.node_image {
        create = create.args(["--image", image]);
    }
    let create = create
        .args(["--name", &name, "--config"])
        .path(&config)
        .args(["--kubeconfig"])
        .path(&settings.kubeconfig());
    let running = podman()
        .args([
            "container",
            "inspect",
            "--format={{.State.Running}}",
            &settings.node(),
        ])
        .prints("true");
    let ports = settings.ports.values().flat_map(BTreeMap::values);
    let ports = ports.map(|port| port.host).collect();
    let begun = Action::Milestone {
        name: "begun".to_owned(),
    };
    let steps = vec![
        Step::write(config, Content::Text(cluster_config(settings))),
        Action::ReleasePorts { ports }.into(),
        begun.into(),
        Step::run(create).unless(running).timeout(Duration::from_mins(10)),
    ];
    // After the check, which takes a second when nothing changed: a compile error must not cost a cluster.
    task("cluster", TaskKind::Cluster, phase::CLUSTER, 20, steps)
        .milestone("begun", Duration::ZERO)
        .after_all(["preflight", "check"])
        .after_all(kind.node_image.as_deref().map(pull_name))
}

/// Returns kind's configuration. YAML is a superset of JSON, which needs no care with quotes.
fn cluster_config(settings: &Settings) -> String {
    let mappings = settings.ports.values().flat_map(BTreeMap::values).map(|port| {
        serde_json::json!({
            "containerPort": port.node, "hostPort": port.host, "listenAddress": "127.0.0.1", "protocol": "TCP",
        })
    });
    let config = serde_json::json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "extraPortMappings": mappings.collect::<Vec<_>>()}],
    });
    format!("{config:#}\n")
}

/// Waits until the node accepts images, while Kubernetes is still starting in it.
fn node(settings: &Settings) -> Task {
    let test = podman()
        .args(["exec", &settings.node(), "ctr", "version"])
        .succeeds();
    let what = "the node's container runtime responds".to_owned();
    let wait = Step::from(Action::Wait(Condition::Test { test, what }));
    let steps = vec![wait.timeout(Duration::from_mins(2))];
    task("node", TaskKind::Cluster, phase::CLUSTER, 3, steps).after_milestone("cluster", "begun")
}

/// The cluster's DNS, without which a job that connects to a component fails and is repeated later.
const DNS: &str = "dns";

/// Waits until names of Services are resolved.
fn dns(settings: &Settings) -> Task {
    let available = settings
        .kubectl()
        .args(["--namespace=kube-system", "wait", "--for=condition=Available"])
        .args(["--timeout=170s", "deployment/coredns"]);
    let wait = Step::run(available).timeout(Duration::from_mins(3));
    task(DNS, TaskKind::Cluster, phase::CLUSTER, 8, vec![wait]).after("cluster")
}

/// Streams images into the node as one archive, unless the node has them all: shared layers are sent once.
fn load<'a>(settings: &Settings, name: &str, images: impl IntoIterator<Item = &'a str>) -> Task {
    let node = settings.node();
    let images: BTreeSet<&str> = images.into_iter().collect();
    let all: Vec<&str> = images.iter().copied().collect();
    let filters = images.iter().map(|image| format!("name=={image}"));
    // Prints the images that the node has by name, one per line.
    let listed = podman()
        .args(["exec", &node, "ctr", NAMESPACE, "images", "list", "--quiet"])
        .args(filters)
        .prints(all.join("\n"));
    let into = podman()
        .args(["exec", "--interactive", &node, "ctr", NAMESPACE])
        .args(["images", "import", "--snapshotter=overlayfs", "-"]);
    let from = podman().args(["save", "--multi-image-archive"]).args(images);
    let stream = Step::from(Action::Pipe { from, into });
    let steps = vec![stream.unless(listed).timeout(Duration::from_mins(10))];
    task(images::load_name(name), TaskKind::Load, phase::IMAGES, 4, steps)
        .after("node")
        .needs("images", 1)
}

/// Applies namespace, CRDs, Services and secrets in one call and in this order.
fn base(settings: &Settings) -> Task {
    let deploy::Base {
        mut steps,
        crds,
        others,
    } = deploy::render_base(settings);
    steps.insert(0, common::write_namespace(settings, None));
    let files = [vec![settings.rendered("namespace")], crds.clone(), others].concat();
    steps.push(deploy::apply(settings, &files));
    deploy::base_task(settings, steps, &crds)
}

fn collect(settings: &Settings) -> Task {
    let node = settings.node();
    let in_node = |words: &[&str]| podman().args(["exec", &node]).args(words.iter().copied());
    let journal = in_node(&["journalctl", "--unit=kubelet", "--no-pager", "--lines=300"]);
    let images = in_node(&["ctr", NAMESPACE, "images", "list", "--quiet"]);
    let logs = vec![
        ("node.log", podman().args(["logs", &node])),
        ("kubelet.log", journal),
        ("node-images.txt", images),
    ];
    deploy::collect(settings, logs)
}
