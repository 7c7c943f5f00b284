//! Settings of a run: arguments, stack file and machine, resolved once for the plan and its execution.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use super::{
    provider::Provider,
    rounds::Rounds,
    variables::{Runtime, Sources},
};
use crate::{
    command::{Command, tag_of},
    ports::Ports,
    run_folder::{cluster_name, node_of},
    stack::Stack,
};

/// Order of the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// Each task starts as soon as its dependencies are done
    Graph,
    /// Four phases, parallel inside
    Phased,
    /// One task at a time
    Sequential,
}

/// Where the services are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BuildOn {
    /// On this machine
    Host,
    /// In the builder image
    Container,
}

/// Returns an enum value's name on the command line.
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

/// Settings of a run.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Run id: short, valid in names of clusters and files.
    pub(crate) run: String,
    pub(crate) provider: Provider,
    pub(crate) order: Order,
    /// `--build`; without it the host compiles, or the builder image where the images have an older glibc.
    pub(crate) build: Option<BuildOn>,
    pub(crate) stack: Stack,
    pub(crate) workspace: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// The run's folder.
    pub(crate) folder: PathBuf,
    pub(crate) ports: Ports,
    /// Base image of each service, from its Dockerfile.
    pub(crate) bases: BTreeMap<String, String>,
    /// `--stack`, as it was given.
    pub(crate) stack_argument: Option<PathBuf>,
    /// Filters of scenarios; all scenarios if empty.
    pub(crate) filters: Vec<String>,
    pub(crate) shard: Option<String>,
    pub(crate) jobs: Option<usize>,
    /// How often the scenarios run.
    pub(crate) rounds: Rounds,
    /// Program of the `control` commands that the tests call.
    pub(crate) own_program: PathBuf,
}

impl Settings {
    pub(crate) fn namespace(&self) -> &str {
        &self.stack.stack.namespace
    }

    /// Name of the run's kind cluster and of its podman network.
    pub(crate) fn cluster(&self) -> String {
        cluster_name(&self.stack.stack.name, &self.run)
    }

    /// Container of the cluster's only node.
    pub(crate) fn node(&self) -> String {
        node_of(&self.cluster())
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    pub(crate) fn stack_file(&self) -> PathBuf {
        self.folder.join("stack.json")
    }

    /// Path of a compiled program, a copy that later builds do not change.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join("programs").join(name)
    }

    /// Path of a rendered manifest.
    pub(crate) fn rendered(&self, name: &str) -> PathBuf {
        self.folder.join("manifests").join(format!("{name}.yaml"))
    }

    /// Path of a service's rendered configuration on the provider `local`.
    pub(crate) fn config(&self, service: &str) -> PathBuf {
        self.folder.join("config").join(format!("{service}.toml"))
    }

    /// Image that the run builds for a service, or pushes for a component, with a placeholder as its tag.
    pub(crate) fn image(&self, name: &str) -> String {
        let (prefix, stack) = (self.provider.image_prefix(), &self.stack.stack.name);
        format!("{prefix}/{stack}-{name}:{}", tag_of(name))
    }

    /// `kubectl` with the run's kubeconfig.
    pub(crate) fn kubectl(&self) -> Command {
        Command::new("kubectl")
            .args(["--kubeconfig"])
            .path(&self.kubeconfig())
    }

    /// `kubectl` in the stack's namespace.
    pub(crate) fn kubectl_here(&self) -> Command {
        self.kubectl().args(["--namespace", self.namespace()])
    }

    /// Returns `http://127.0.0.1:PORT` of a service's port.
    pub(crate) fn url(&self, service: &str, port: &str) -> Option<String> {
        let port = self.ports.get(service)?.get(port)?;
        Some(format!("http://127.0.0.1:{}", port.host))
    }

    /// Returns the sources of the templates; `tags` are the known versions.
    pub(crate) fn sources(&self, tags: &BTreeMap<String, String>) -> Sources<'_> {
        let stack = &self.stack;
        let tag = |service: &str| tags.get(service).cloned().unwrap_or_else(|| tag_of(service));
        let own = |name: &String| (name.clone(), self.image(name).replace(&tag_of(name), &tag(name)));
        let components = stack.components.iter().map(|(name, entry)| match self.provider {
            Provider::Cluster(_) => own(name.get_ref()),
            Provider::Kind(_) | Provider::Local(_) => (name.get_ref().clone(), entry.image.clone()),
        });
        let services = stack.services.keys().map(|name| own(name.get_ref()));
        Sources {
            stack,
            namespace: self.namespace(),
            ports: &self.ports,
            runtime: match self.provider {
                Provider::Kind(_) | Provider::Cluster(_) => Runtime::Pods,
                Provider::Local(_) => Runtime::Processes { folder: &self.folder },
            },
            images: components.chain(services).collect(),
            pull_policy: self.provider.pull_policy(),
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
    use crate::{
        e2e::provider::{Cluster, Kind, Local},
        ports::Assigned,
        run_folder,
    };

    /// Returns settings of the project's own stack, independent of this machine.
    pub(crate) fn settings(provider: run_folder::ProviderName, order: Order) -> Settings {
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
            provider: match provider {
                run_folder::ProviderName::Kind => Provider::Kind(Kind {
                    node_image: Some("docker.io/kindest/node:v1.33".to_owned()),
                }),
                run_folder::ProviderName::Local => Provider::Local(Local {
                    kube_embedded: None,
                    api_port: 16443,
                }),
                run_folder::ProviderName::Cluster => Provider::Cluster(Cluster {
                    context: "shared".to_owned(),
                    registry: "registry.example.com/team".to_owned(),
                }),
            },
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
            stack_argument: None,
            filters: Vec::new(),
            shard: None,
            jobs: None,
            rounds: Rounds::default(),
            own_program: PathBuf::from("/target/debug/xtask"),
            stack,
        }
    }
}
