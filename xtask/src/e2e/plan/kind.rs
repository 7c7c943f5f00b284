//! The tasks of the provider `kind`: a cluster of its own in podman.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Command, Kind, Plan, Step, build, needed_tasks, phase, run, run_unless, service_phase, tag_of, task,
};
use crate::e2e::settings::Settings;

/// Where containerd keeps what Kubernetes runs.
const NAMESPACE: &str = "--namespace=k8s.io";

pub(super) fn tasks(settings: &Settings, plan: &mut Plan) {
    build::tasks(settings, plan, &[], true);
    let bases: Vec<&String> = settings.bases.values().collect();
    let components: Vec<&String> = settings
        .stack
        .components
        .values()
        .map(|component| &component.image)
        .collect();
    for image in bases.into_iter().chain(components) {
        pull(plan, image, phase::IMAGES);
    }
    if let Some(image) = &settings.node_image {
        pull(plan, image, phase::CLUSTER);
    }
    for service in settings.stack.services.keys() {
        plan.task(image(settings, service.get_ref()));
    }
    plan.task(cluster(settings));
    let poll = podman()
        .args(["exec", &settings.node(), "ctr", "version"])
        .succeeds();
    let answers = Step::Until {
        test: poll,
        what: "the node's container runtime answers".to_owned(),
        seconds: 120,
    };
    let begun =
        task("node", Kind::Cluster, phase::CLUSTER, 3, vec![answers]).after_milestone("cluster", "begun");
    plan.task(begun);
    for (name, component) in &settings.stack.components {
        let pulled = pull_name(&component.image);
        plan.task(load(settings, name.get_ref(), &component.image).after(pulled));
    }
    for service in settings.stack.services.keys() {
        let image = settings.image(service.get_ref());
        plan.task(load(settings, service.get_ref(), &image).after(format!("image:{service}")));
    }
    plan.task(base(settings));
    for name in settings.stack.components.keys() {
        let steps = deploy(settings, name.get_ref(), None);
        let component = task(name.get_ref().clone(), Kind::Deploy, phase::IMAGES, 8, steps);
        let component = component.after("base").after(format!("load:{name}"));
        plan.task(component.after_all(needed_tasks(settings, name.get_ref())));
    }
    for name in entries_in_order(settings) {
        plan.task(job_or_service(settings, &name));
    }
    plan.task(test(settings));
    plan.task(task("collect", Kind::Collect, phase::LAST, 2, vec![collect(settings)]).always());
    plan.task(
        task(
            "teardown",
            Kind::Teardown,
            phase::LAST,
            3,
            vec![teardown(settings)],
        )
        .always(),
    );
}

fn podman() -> Command {
    Command::new("podman")
}

fn kind(cluster: &str) -> Command {
    // A network of its own: the common one would stay behind, and could not be removed beside another run.
    Command::new("kind")
        .env("KIND_EXPERIMENTAL_PROVIDER", "podman")
        .env("KIND_EXPERIMENTAL_PODMAN_NETWORK", cluster)
}

/// `registry/path/name:tag` → `pull:name`.
fn pull_name(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    let name = name.split(['@', ':']).next().unwrap_or(name);
    format!("pull:{name}")
}

/// Fetches an image that is not here, once however many use it.
fn pull(plan: &mut Plan, image: &str, phase: usize) {
    let name = pull_name(image);
    let exists = podman().args(["image", "exists", image]).succeeds();
    let step = run_unless(exists, podman().args(["pull", "--quiet", image]), 900);
    match plan.tasks.iter_mut().find(|task| task.name == name) {
        Some(task) if !task.action.steps.contains(&step) => task.action.steps.push(step),
        Some(_) => {}
        None => {
            let pull = task(name, Kind::Pull, phase, 1, vec![step]);
            plan.task(pull.after("preflight").needs("network", 1));
        }
    }
}

fn image(settings: &Settings, service: &str) -> super::Task {
    let stack = &settings.stack;
    let (program, dockerfile) = match stack.services.get(service) {
        Some(entry) => (settings.program(&entry.package), stack.path(&entry.dockerfile)),
        None => (settings.program(service), stack.folder.join("Dockerfile")),
    };
    let folder = settings.folder.join("images").join(service);
    let base = settings.bases.get(service);
    let inspect = |base: &String| podman().args(["image", "inspect", "--format={{.Id}}", base]);
    let image = settings.image(service);
    let build = podman()
        .args(["build", "--pull=never", "--tag", &image, "--file"])
        .path(&dockerfile)
        .path(&folder);
    let steps = vec![
        Step::Tag {
            service: service.to_owned(),
            program: program.clone(),
            dockerfile: Some(dockerfile.clone()),
            base: base.map(inspect),
        },
        Step::Stage { program, folder },
        run_unless(podman().args(["image", "exists", &image]).succeeds(), build, 600),
    ];
    let task = task(format!("image:{service}"), Kind::Image, phase::IMAGES, 4, steps);
    task.after("compile")
        .after_all(base.map(|base| pull_name(base)))
        .needs("images", 1)
}

fn cluster(settings: &Settings) -> super::Task {
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
        run(create, 600),
    ];
    let cluster =
        task("cluster", Kind::Cluster, phase::CLUSTER, 20, steps).milestone("begun", Duration::ZERO);
    // After the check, which takes a second when nothing changed: a typing error must not cost a cluster.
    cluster
        .after_all(["preflight", "check"])
        .after_all(settings.node_image.as_deref().map(pull_name))
}

/// The host ports of a component or service.
pub(super) fn ports_of(settings: &Settings, name: &str) -> Vec<u16> {
    settings
        .ports
        .get(name)
        .into_iter()
        .flatten()
        .map(|(_, port)| port.host)
        .collect()
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

/// Streams an image into the node, unless the node has it.
fn load(settings: &Settings, name: &str, image: &str) -> super::Task {
    let node = settings.node();
    let filter = format!("name=={image}");
    let listed = podman().args([
        "exec", &node, "ctr", NAMESPACE, "images", "list", "--quiet", &filter,
    ]);
    let import = podman().args([
        "exec",
        "--interactive",
        &node,
        "ctr",
        NAMESPACE,
        "images",
        "import",
        "--snapshotter=overlayfs",
        "-",
    ]);
    let stream = Step::Pipe {
        from: podman().args(["save", image]),
        into: import,
        unless: Some(listed.prints(image)),
        seconds: 600,
    };
    task(format!("load:{name}"), Kind::Load, phase::IMAGES, 4, vec![stream])
        .after("node")
        .needs("images", 1)
}

/// Namespace, CRDs, secrets and Services, in one call and in this order.
fn base(settings: &Settings) -> super::Task {
    let stack = &settings.stack;
    let namespace = settings.rendered("namespace");
    let secrets = settings.rendered("secrets");
    let mut steps = vec![
        Step::Write {
            to: namespace.clone(),
            text: namespace_object(settings),
        },
        Step::Secrets {
            to: secrets.clone(),
            as_object: true,
        },
    ];
    let mut crds = Vec::new();
    let mut files = vec![namespace];
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
        if is_crd {
            crds.push(to.clone());
        }
        files.push(to);
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

pub(super) fn namespace_object(settings: &Settings) -> String {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": settings.namespace()},
    });
    format!("{object:#}\n")
}

/// Applies an entry's manifest, after the configuration of its service, and waits until its workload is ready.
fn deploy(settings: &Settings, name: &str, service: Option<&str>) -> Vec<Step> {
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
        get: settings
            .kubectl_here()
            .args(["get", "deployments,statefulsets,jobs,pods", "--output=json"]),
        logs: settings
            .kubectl_here()
            .args(["logs", "--all-containers", "--tail=30"]),
        seconds: 180,
    });
    steps
}

/// Jobs and services, each after those that it needs.
pub(super) fn entries_in_order(settings: &Settings) -> Vec<String> {
    let jobs = settings
        .stack
        .jobs
        .iter()
        .map(|(name, job)| (name, service_phase(settings, job.service.get_ref()), 0));
    let services = settings
        .stack
        .services
        .keys()
        .map(|name| (name, service_phase(settings, name.get_ref()), 1));
    let mut entries: Vec<_> = jobs.chain(services).collect();
    entries.sort_by_key(|(name, phase, rank)| (*phase, *rank, name.get_ref().clone()));
    entries
        .into_iter()
        .map(|(name, ..)| name.get_ref().clone())
        .collect()
}

fn job_or_service(settings: &Settings, name: &str) -> super::Task {
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

/// Waits until a service is ready as the version that was just built.
pub(super) fn answers(service: &str, health: &str) -> Step {
    Step::Answers {
        name: service.to_owned(),
        url: format!("{health}/readyz"),
        version: Some(tag_of(service)),
        seconds: 60,
    }
}

pub(super) fn test(settings: &Settings) -> super::Task {
    let steps = vec![
        Step::StackFile {
            to: settings.stack_file(),
        },
        Step::Scenarios {
            command: scenarios(settings),
        },
    ];
    let services = settings.stack.services.keys().map(|name| name.get_ref().clone());
    task("test", Kind::Test, phase::LAST, 60, steps).after_all(services)
}

fn scenarios(settings: &Settings) -> Command {
    let mut command = Command::new(
        settings
            .program(&settings.stack.test.package)
            .display()
            .to_string(),
    )
    .args(["run", "--format", "json", "--stack"])
    .path(&settings.stack_file());
    if let Some(shard) = &settings.shard {
        command = command.args(["--shard", shard]);
    }
    if let Some(jobs) = settings.jobs {
        command = command.args(["--jobs".to_owned(), jobs.to_string()]);
    }
    command.args(settings.filters.iter().cloned())
}

fn collect(settings: &Settings) -> Step {
    let here = || settings.kubectl_here();
    let mut commands = vec![
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
        (
            "node-images.txt".to_owned(),
            podman().args(["exec", &settings.node(), "crictl", "images"]),
        ),
    ];
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

fn teardown(settings: &Settings) -> Step {
    let mut commands =
        vec![podman().args(["rm", "--force", "--ignore", &build::builder_container(settings)])];
    commands.extend(remove_cluster(&settings.cluster(), &settings.kubeconfig()));
    Step::Teardown { commands }
}

/// What removes a run's cluster and its network, if they are there.
pub(crate) fn remove_cluster(cluster: &str, kubeconfig: &Path) -> [Command; 2] {
    let delete = kind(cluster)
        .args(["delete", "cluster", "--name", cluster, "--kubeconfig"])
        .path(kubeconfig);
    [delete, podman().args(["network", "rm", "--force", cluster])]
}
