//! Contents of a stack file. Names, paths and ports keep their position in the file, for errors.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::Spanned;

/// A whole stack file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stack {
    pub(crate) stack: Head,
    #[serde(default)]
    pub(crate) crds: BTreeMap<Spanned<String>, Crd>,
    #[serde(default)]
    pub(crate) components: BTreeMap<Spanned<String>, Component>,
    #[serde(default)]
    pub(crate) jobs: BTreeMap<Spanned<String>, Job>,
    #[serde(default)]
    pub(crate) services: BTreeMap<Spanned<String>, Service>,
    /// Only a stack without services needs none.
    pub(crate) build: Option<Build>,
    pub(crate) test: Spanned<Test>,
    /// Folder of the file, to which its paths are relative.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
}

/// The stack's own name, namespace and secrets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// Keys of the Secret; each run has its own random values.
    #[serde(default)]
    pub(crate) secrets: Vec<String>,
}

/// A CustomResourceDefinition.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Crd {
    pub(crate) manifest: Spanned<PathBuf>,
}

/// A third-party program: an image in a pod, or an embedded server on the provider `local`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Component {
    pub(crate) image: String,
    pub(crate) manifest: Spanned<PathBuf>,
    pub(crate) embedded: Option<Spanned<Embedded>>,
    #[serde(default)]
    pub(crate) ports: BTreeMap<String, Port>,
    /// Command that succeeds in the container once the component is ready.
    #[serde(default)]
    pub(crate) probe: Vec<String>,
    /// URLs for the tests: templates with the variables `secrets` and `ports`.
    #[serde(default)]
    pub(crate) urls: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(crate) needs: Vec<Spanned<String>>,
}

/// An embedded server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Embedded {
    Postgresql,
    Redis,
}

/// A service's image that runs once, to completion.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    pub(crate) service: Spanned<String>,
    #[serde(default)]
    pub(crate) args: Vec<String>,
    pub(crate) manifest: Spanned<PathBuf>,
    #[serde(default)]
    pub(crate) needs: Vec<Spanned<String>>,
}

/// A program of this workspace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    pub(crate) package: String,
    pub(crate) dockerfile: Spanned<PathBuf>,
    pub(crate) config: Spanned<PathBuf>,
    pub(crate) manifest: Spanned<PathBuf>,
    #[serde(default)]
    pub(crate) needs: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) ports: BTreeMap<String, Port>,
}

/// A port that a program listens on, and its port on 127.0.0.1.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Port {
    pub(crate) container: Spanned<u16>,
    pub(crate) host: Spanned<u16>,
}

/// The build in the builder image, for hosts whose glibc is newer than that of the images.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Build {
    pub(crate) dockerfile: Spanned<PathBuf>,
    /// Newest glibc symbol version of the runtime images, such as `2.34`.
    pub(crate) glibc: Spanned<String>,
}

/// The scenarios' program: a package of the workspace, or any command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Test {
    /// Package of the program, which is built with the services.
    pub(crate) package: Option<String>,
    /// Program with its first arguments, which runs in the file's folder.
    #[serde(default)]
    pub(crate) command: Vec<String>,
}

impl Stack {
    /// Returns the kind of an entry: `job`, `service` or `component`.
    pub(crate) fn role(&self, name: &str) -> Option<&'static str> {
        if self.jobs.contains_key(name) {
            Some("job")
        } else if self.services.contains_key(name) {
            Some("service")
        } else {
            self.components.contains_key(name).then_some("component")
        }
    }

    /// Resolves a path of the file against the file's folder.
    pub(crate) fn path(&self, path: &Spanned<PathBuf>) -> PathBuf {
        self.folder.join(path.get_ref())
    }

    /// Returns the names that `needs` can contain.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.crds
            .keys()
            .chain(self.components.keys())
            .chain(self.jobs.keys())
            .chain(self.services.keys())
    }

    /// Returns the needs of an entry.
    pub(crate) fn needs(&self, name: &str) -> &[Spanned<String>] {
        let component = self.components.get(name).map(|component| &component.needs);
        let job = self.jobs.get(name).map(|job| &job.needs);
        let service = self.services.get(name).map(|service| &service.needs);
        component.or(job).or(service).map_or(&[], Vec::as_slice)
    }

    /// Returns the ports of all components and services: (owner, port's name, port).
    pub(crate) fn ports(&self) -> impl Iterator<Item = (&str, &str, &Port)> {
        let components = self
            .components
            .iter()
            .map(|(name, component)| (name, &component.ports));
        let services = self.services.iter().map(|(name, service)| (name, &service.ports));
        components.chain(services).flat_map(|(owner, ports)| {
            ports
                .iter()
                .map(|(name, port)| (owner.as_ref().as_str(), name.as_str(), port))
        })
    }

    /// Returns all manifests with the names of their entries, CRDs first.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&str, PathBuf)> {
        let crds = self.crds.iter().map(|(name, entry)| (name, &entry.manifest));
        let components = self
            .components
            .iter()
            .map(|(name, entry)| (name, &entry.manifest));
        let jobs = self.jobs.iter().map(|(name, entry)| (name, &entry.manifest));
        let services = self.services.iter().map(|(name, entry)| (name, &entry.manifest));
        crds.chain(components)
            .chain(jobs)
            .chain(services)
            .map(|(name, manifest)| (name.as_ref().as_str(), self.path(manifest)))
    }

    /// Returns the services whose readiness and version a run cannot see.
    pub(crate) fn without_health(&self) -> impl Iterator<Item = &str> {
        let services = self.services.iter();
        let without = services.filter(|(_, service)| !service.ports.contains_key("health"));
        without.map(|(name, _)| name.get_ref().as_str())
    }

    /// Returns the packages of the services, each once.
    pub(crate) fn packages(&self) -> Vec<&str> {
        let mut packages: Vec<&str> = self
            .services
            .values()
            .map(|service| service.package.as_str())
            .collect();
        packages.sort_unstable();
        packages.dedup();
        packages
    }
}

/// Returns a path for messages: relative to the current folder if possible.
pub(crate) fn shown(path: &Path) -> String {
    let relative = std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf));
    relative
        .unwrap_or_else(|| path.to_path_buf())
        .display()
        .to_string()
}
