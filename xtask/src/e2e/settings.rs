//! What a run is made from: the arguments, the stack file and this machine, resolved once. The plan is made from
//! it, and the executor reads the same values.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use super::variables::{Place, Sources};
use crate::{
    command::{Command, tag_of},
    ports::Ports,
    run_folder::{Provider, cluster_name, node_of},
    stack::Stack,
};

/// Which edges join the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// Each task starts when what it needs is there.
    Graph,
    /// Four phases, one after the other, parallel inside.
    Phased,
    /// One task after the other.
    Sequential,
}

/// Where the services are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BuildOn {
    /// On this machine.
    Host,
    /// In the builder image.
    Container,
}

/// The word of an enum's value on the command line.
fn argument(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&argument(self))
    }
}

/// A cluster that is there already, and the registry that its nodes pull from.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// A context of the user's kubeconfig.
    pub(crate) context: String,
    /// `HOST/PATH`, without a slash at its end.
    pub(crate) registry: String,
}

/// Everything that a run is made from.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The run's name: short, legal in names of clusters and files.
    pub(crate) run: String,
    pub(crate) provider: Provider,
    pub(crate) order: Order,
    /// Forced by `--build`; else the host, and the builder image where the result does not fit.
    pub(crate) build: Option<BuildOn>,
    pub(crate) stack: Stack,
    pub(crate) workspace: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// The run's own folder.
    pub(crate) folder: PathBuf,
    pub(crate) ports: Ports,
    /// The embedded Kubernetes API's program where it is installed; `None` where this workspace has it and builds it.
    pub(crate) kube_embedded: Option<PathBuf>,
    /// Where the embedded Kubernetes API listens.
    pub(crate) api_port: u16,
    /// Base image of each service, from its Dockerfile.
    pub(crate) bases: BTreeMap<String, String>,
    /// Where the stack goes on the provider `cluster`.
    pub(crate) remote: Option<Remote>,
    /// Kind's node image, if not the one that kind's release pins.
    pub(crate) node_image: Option<String>,
    /// Which scenarios: all if empty.
    pub(crate) filters: Vec<String>,
    pub(crate) shard: Option<String>,
    pub(crate) jobs: Option<usize>,
    /// The program that `control` calls in the tests go to.
    pub(crate) own_program: PathBuf,
}

impl Settings {
    pub(crate) fn namespace(&self) -> &str {
        &self.stack.stack.namespace
    }

    /// The arguments that put another run where this one is.
    pub(crate) fn place_arguments(&self) -> String {
        let provider = format!("--provider {}", self.provider);
        match &self.remote {
            Some(Remote { context, registry }) => {
                format!("{provider} --context {context} --registry {registry}")
            }
            None => provider,
        }
    }

    /// The cluster of this run, and the podman network that it alone is in.
    pub(crate) fn cluster(&self) -> String {
        cluster_name(&self.stack.stack.name, &self.run)
    }

    /// The container that is the cluster's only node.
    pub(crate) fn node(&self) -> String {
        node_of(&self.cluster())
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    pub(crate) fn stack_file(&self) -> PathBuf {
        self.folder.join("stack.json")
    }

    /// Where compiled programs are put, so that a build meanwhile changes nothing in this run.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join("programs").join(name)
    }

    /// A rendered manifest.
    pub(crate) fn rendered(&self, name: &str) -> PathBuf {
        self.folder.join("manifests").join(format!("{name}.yaml"))
    }

    /// A service's rendered configuration where there are no pods.
    pub(crate) fn config(&self, service: &str) -> PathBuf {
        self.folder.join("config").join(format!("{service}.toml"))
    }

    /// The image of a service, or of a component in a registry of ours, with its tag still open.
    pub(crate) fn image(&self, name: &str) -> String {
        let host = self
            .remote
            .as_ref()
            .map_or("localhost", |remote| remote.registry.as_str());
        format!("{host}/{}-{name}:{}", self.stack.stack.name, tag_of(name))
    }

    /// `kubectl` on this run's cluster.
    pub(crate) fn kubectl(&self) -> Command {
        Command::new("kubectl")
            .args(["--kubeconfig"])
            .path(&self.kubeconfig())
    }

    /// `kubectl` in the stack's namespace.
    pub(crate) fn kubectl_here(&self) -> Command {
        self.kubectl().args(["--namespace", self.namespace()])
    }

    /// `http://127.0.0.1:PORT` of a service's port.
    pub(crate) fn url(&self, service: &str, port: &str) -> Option<String> {
        let port = self.ports.get(service)?.get(port)?;
        Some(format!("http://127.0.0.1:{}", port.host))
    }

    /// What templates are rendered from, once each service has its version (`tags`).
    pub(crate) fn sources(&self, tags: &BTreeMap<String, String>) -> Sources<'_> {
        let stack = &self.stack;
        let tag = |service: &str| tags.get(service).cloned().unwrap_or_else(|| tag_of(service));
        let service = |name: &String| (name.clone(), self.image(name).replace(&tag_of(name), &tag(name)));
        let component = stack.components.iter().map(|(name, entry)| match self.remote {
            Some(_) => service(name.get_ref()),
            None => (name.get_ref().clone(), entry.image.clone()),
        });
        let services = stack.services.keys().map(|name| service(name.get_ref()));
        Sources {
            stack,
            namespace: self.namespace(),
            ports: &self.ports,
            place: match self.provider {
                Provider::Kind | Provider::Cluster => Place::Pods,
                Provider::Local => Place::Processes { folder: &self.folder },
            },
            images: component.chain(services).collect(),
            pull_policy: match self.remote {
                Some(_) => "IfNotPresent",
                None => "Never",
            },
            versions: stack
                .services
                .keys()
                .map(|name| (name.get_ref().clone(), tag(name.get_ref())))
                .collect(),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::ports::Assigned;

    /// Settings of the project's own stack with ports of their own, without a look at this machine.
    pub(crate) fn settings(provider: Provider, order: Order) -> Settings {
        let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let stack = crate::stack::read(&workspace.join("deploy/stack.toml")).unwrap();
        let mut ports = Ports::new();
        for ((owner, name, port), node) in stack.ports().zip(30_000..) {
            let (container, host) = (*port.container.get_ref(), *port.host.get_ref());
            ports.entry(owner.to_owned()).or_default().insert(
                name.to_owned(),
                Assigned {
                    container,
                    host,
                    node,
                },
            );
        }
        let base = "registry.access.redhat.com/ubi9/ubi-minimal:latest";
        Settings {
            run: "run".to_owned(),
            provider,
            order,
            build: None,
            bases: stack
                .services
                .keys()
                .map(|name| (name.get_ref().clone(), base.to_owned()))
                .collect(),
            workspace,
            target: PathBuf::from("/target"),
            folder: PathBuf::from("/target/e2e/run"),
            ports,
            kube_embedded: None,
            api_port: 16443,
            remote: (provider == Provider::Cluster).then(|| Remote {
                context: "shared".to_owned(),
                registry: "registry.example.com/team".to_owned(),
            }),
            node_image: Some("docker.io/kindest/node:v1.33".to_owned()),
            filters: Vec::new(),
            shard: None,
            jobs: None,
            own_program: PathBuf::from("/target/debug/xtask"),
            stack,
        }
    }
}
