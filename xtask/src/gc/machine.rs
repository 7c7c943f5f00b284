//! Processes, podman objects and folders of runs and tests on this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use anyhow::Context;
use embedded::Instance;
use serde::Deserialize;
use subprocess::{Cancel, Command, Orphan};

use crate::run_folder::{self, Entry, RunFolder};

/// Everything that runs and tests may have left.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// Runs of this checkout, oldest first.
    pub(crate) runs: Vec<RunFolder>,
    /// Unfinished runs of all checkouts of this user.
    pub(crate) index: BTreeMap<String, Entry>,
    /// Folder of the index.
    pub(crate) index_folder: PathBuf,
    /// Children of killed owners.
    pub(crate) orphans: Vec<Orphan>,
    /// Servers of runs and tests.
    pub(crate) instances: Vec<Instance>,
    /// Containers in podman.
    pub(crate) containers: Vec<Container>,
    /// Networks in podman.
    pub(crate) networks: Vec<String>,
    /// Images in podman, one for each tag.
    pub(crate) images: Vec<Image>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) name: String,
    /// Kind cluster of which it is a node.
    pub(crate) cluster: Option<String>,
}

/// A tagged image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) name: String,
    /// Build time in seconds since 1970.
    pub(crate) created: i64,
}

impl Machine {
    /// Collects everything; without podman no podman objects.
    pub(crate) fn look() -> anyhow::Result<Self> {
        let index_folder = run_folder::index();
        let machine = Self {
            runs: RunFolder::list(&run_folder::runs(), &index_folder),
            index: run_folder::indexed(&index_folder),
            index_folder,
            orphans: Orphan::all(),
            instances: embedded::instances(),
            ..Self::default()
        };
        if which::which("podman").is_err() {
            return Ok(machine);
        }
        let containers: Vec<ListedContainer> = list(&["ps", "--all"])?;
        let networks: Vec<ListedNetwork> = list(&["network", "ls"])?;
        let images: Vec<ListedImage> = list(&["images"])?;
        Ok(Self {
            containers: containers.into_iter().filter_map(Container::of).collect(),
            networks: networks.into_iter().map(|network| network.name).collect(),
            images: images.into_iter().flat_map(ListedImage::tags).collect(),
            ..machine
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedContainer {
    names: Vec<String>,
    labels: Option<BTreeMap<String, String>>,
}

impl Container {
    fn of(listed: ListedContainer) -> Option<Self> {
        let cluster = listed
            .labels
            .and_then(|mut labels| labels.remove("io.x-k8s.kind.cluster"));
        Some(Self {
            name: listed.names.into_iter().next()?,
            cluster,
        })
    }
}

#[derive(Deserialize)]
struct ListedNetwork {
    // podman 3 wrote it with a capital.
    #[serde(alias = "Name")]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedImage {
    names: Option<Vec<String>>,
    #[serde(default)]
    created: i64,
}

impl ListedImage {
    fn tags(self) -> impl Iterator<Item = Image> {
        let created = self.created;
        let names = self.names.unwrap_or_default().into_iter();
        names.map(move |name| Image { name, created })
    }
}

fn list<T: for<'de> Deserialize<'de>>(arguments: &[&str]) -> anyhow::Result<Vec<T>> {
    let mut command = process::Command::new("podman");
    command.args(arguments).args(["--format", "json"]);
    let output = Command::new(command)
        .deadline(Duration::from_secs(60))
        .capture(&Cancel::never())?;
    let text = output.text();
    // Some versions print nothing for an empty list.
    if text.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str::<Option<Vec<T>>>(&text)
        .map(Option::unwrap_or_default)
        .with_context(|| {
            format!(
                "cannot read the output of `podman {} --format json`",
                arguments.join(" ")
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_of_podman() {
        let containers = r#"[{"Names":["a-e2e-b-control-plane"],"Labels":{"io.x-k8s.kind.cluster":"a-e2e-b"},"Pid":7},
            {"Names":["db"],"Labels":null}]"#;
        let containers: Vec<ListedContainer> = serde_json::from_str(containers).unwrap();
        let containers: Vec<_> = containers.into_iter().filter_map(Container::of).collect();
        assert_eq!(
            containers,
            [
                Container {
                    name: "a-e2e-b-control-plane".to_owned(),
                    cluster: Some("a-e2e-b".to_owned())
                },
                Container {
                    name: "db".to_owned(),
                    cluster: None
                }
            ]
        );
        let networks: Vec<ListedNetwork> =
            serde_json::from_str(r#"[{"name":"kind","driver":"bridge"}]"#).unwrap();
        assert_eq!(networks[0].name, "kind");
        let images = r#"[{"Id":"1","Created":5},{"Names":["localhost/a:b","localhost/a:c"],"Created":7}]"#;
        let images: Vec<ListedImage> = serde_json::from_str(images).unwrap();
        let tags: Vec<_> = images.into_iter().flat_map(ListedImage::tags).collect();
        let tag = |name: &str| Image {
            name: name.to_owned(),
            created: 7,
        };
        assert_eq!(tags, [tag("localhost/a:b"), tag("localhost/a:c")]);
    }
}
