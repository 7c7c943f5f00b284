//! A kind cluster: made, and removed again.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Command, Kind, Step, build,
    images::{NAMESPACE, podman, pull_name},
    phase, run_unless, task,
};
use crate::{e2e::settings::Settings, removal::remove_cluster};

fn kind(cluster: &str) -> Command {
    // A network of its own: the common one would stay behind, and could not be removed beside another run.
    Command::new("kind")
        .env("KIND_EXPERIMENTAL_PROVIDER", "podman")
        .env("KIND_EXPERIMENTAL_PODMAN_NETWORK", cluster)
}

pub(super) fn cluster(settings: &Settings) -> super::Task {
    let config = settings.folder.join("kind.yaml");
    let mut create = kind(&settings.cluster()).args(["create", "cluster", "--retain", "--wait", "0s"]);
    if let Some(image) = &settings.node_image {
        create = create.args(["--image", image]);
    }
    let create = create
        .args(["--name", &settings.cluster(), "--config"])
        .path(&config)
        .args(["--kubeconfig"])
        .path(&settings.kubeconfig());
    let node = settings.node();
    let running = podman().args(["container", "inspect", "--format={{.State.Running}}", &node]);
    let steps = vec![
        Step::Write {
            to: config,
            text: cluster_config(settings),
        },
        Step::Release {
            ports: host_ports(settings),
        },
        Step::Reach {
            milestone: "begun".to_owned(),
        },
        run_unless(running.prints("true"), create, 600),
    ];
    let cluster =
        task("cluster", Kind::Cluster, phase::CLUSTER, 20, steps).milestone("begun", Duration::ZERO);
    // After the check, which takes a second when nothing changed: a typing error must not cost a cluster.
    cluster
        .after_all(["preflight", "check"])
        .after_all(settings.node_image.as_deref().map(pull_name))
}

fn host_ports(settings: &Settings) -> Vec<u16> {
    settings
        .ports
        .values()
        .flat_map(BTreeMap::values)
        .map(|port| port.host)
        .collect()
}

/// Kind's configuration. YAML is a superset of JSON, which needs no care with quotes.
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

pub(super) fn collect(settings: &Settings) -> Step {
    let here = || settings.kubectl_here();
    let in_node = |words: &[&str]| {
        podman()
            .args(["exec", &settings.node()])
            .args(words.iter().copied())
    };
    let mut commands = vec![
        ("node.log".to_owned(), podman().args(["logs", &settings.node()])),
        (
            "kubelet.log".to_owned(),
            in_node(&["journalctl", "--unit=kubelet", "--no-pager", "--lines=300"]),
        ),
        (
            "nodes.txt".to_owned(),
            settings.kubectl().args(["describe", "nodes"]),
        ),
        (
            "events.txt".to_owned(),
            here().args(["get", "events", "--sort-by=.lastTimestamp"]),
        ),
        (
            "objects.txt".to_owned(),
            here().args(["get", "all,configmaps,secrets", "--output=wide"]),
        ),
        ("describe.txt".to_owned(), here().args(["describe", "pods"])),
    ];
    if settings.remote.is_none() {
        let node = settings.node();
        let images = podman().args(["exec", &node, "ctr", NAMESPACE, "images", "list", "--quiet"]);
        commands.push(("node-images.txt".to_owned(), images));
    }
    for name in settings
        .stack
        .components
        .keys()
        .chain(settings.stack.jobs.keys())
        .chain(settings.stack.services.keys())
    {
        let select = format!("--selector=app.kubernetes.io/name={name}");
        let logs = || here().args(["logs", "--all-containers", "--prefix", "--tail=-1", &select]);
        commands.push((format!("{name}.log"), logs()));
        commands.push((format!("{name}-previous.log"), logs().args(["--previous"])));
    }
    Step::Collect {
        commands,
        seconds: 60,
    }
}

pub(super) fn teardown(settings: &Settings) -> Step {
    let mut commands =
        vec![podman().args(["rm", "--force", "--ignore", &build::builder_container(settings)])];
    commands.extend(remove_cluster(&settings.cluster()));
    Step::Teardown {
        commands,
        unless: None,
    }
}
