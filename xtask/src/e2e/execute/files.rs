//! Steps that make files: tags, contexts, rendered manifests and configurations, secrets.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use serde_json::json;

use super::{Did, Place, World};
use crate::{
    command::Command,
    e2e::{hash, settings::Settings, shared_cluster, variables},
};

impl World<'_> {
    pub(super) fn tag(
        &self,
        place: &Place<'_>,
        service: &str,
        program: &Path,
        dockerfile: Option<&Path>,
        base: Option<&Command>,
    ) -> anyhow::Result<Did> {
        let base_id = match base {
            Some(inspect) => {
                let inspect = subprocess::Command::new(inspect.filled(str::to_owned));
                inspect
                    .deadline(Duration::from_secs(30))
                    .capture(place.cancel)?
                    .text()
            }
            None => String::new(),
        };
        let files: Vec<&Path> = [program].into_iter().chain(dockerfile).collect();
        let tag = hash::short_of(&files, &[&base_id])?;
        place.context.note(format!("version {tag}"));
        self.tags().insert(service.to_owned(), tag);
        Ok(Did::Preparation)
    }

    /// The tag of an image that others built: the beginning of its id.
    pub(super) fn image_tag(&self, place: &Place<'_>, name: &str, inspect: &Command) -> anyhow::Result<Did> {
        let inspect = subprocess::Command::new(inspect.filled(str::to_owned));
        let id = inspect
            .deadline(Duration::from_secs(30))
            .capture(place.cancel)?
            .text();
        let id = id.trim().trim_start_matches("sha256:");
        let tag: String = id.chars().take(12).collect();
        anyhow::ensure!(!tag.is_empty(), "the image of {name} has no id");
        self.tags().insert(name.to_owned(), tag);
        Ok(Did::Preparation)
    }

    /// The user's way into a cluster as a file of the run; it may have a key in it.
    pub(super) fn copy_context(&self, place: &Place<'_>, from: &Command, to: &Path) -> anyhow::Result<Did> {
        let view = subprocess::Command::new(from.filled(str::to_owned)).name("read the kubeconfig");
        let output = view.deadline(Duration::from_secs(30)).capture(place.cancel)?;
        write_private(to, &String::from_utf8_lossy(&output.stdout))?;
        Ok(Did::Preparation)
    }

    /// What the run has outside of its namespace, as one list: its end removes just that.
    pub(super) fn cluster_scoped(&self, to: &Path) -> anyhow::Result<Did> {
        let tags = self.tags().clone();
        let sources = self.settings.sources(&tags);
        let variables = sources.manifest_variables()?;
        let mut items = Vec::new();
        for (entry, _) in self.settings.stack.manifests() {
            let objects = sources.manifest(entry, &variables)?.into_iter();
            items.extend(
                objects
                    .filter(shared_cluster::is_cluster_scoped)
                    .map(|object| object.0),
            );
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        write(to, &format!("{list:#}\n"))
    }

    /// Renders an entry's manifest; all kinds if none is named.
    pub(super) fn render(&self, entry: &str, kinds: &[String], to: &Path) -> anyhow::Result<Did> {
        let tags = self.tags().clone();
        let sources = self.settings.sources(&tags);
        let variables = sources.manifest_variables()?;
        let mut objects = sources.manifest(entry, &variables)?;
        if self.settings.remote.is_some() {
            let adapted = |object| shared_cluster::adapted(self.settings, object);
            objects = objects.into_iter().map(adapted).collect();
        }
        objects.retain(|object| kinds.is_empty() || kinds.iter().any(|kind| kind == object.kind()));
        // YAML is a superset of JSON: what was checked is written, not what was read.
        let texts: Vec<String> = objects.iter().map(|object| format!("{:#}\n", object.0)).collect();
        write(to, &texts.join("---\n"))
    }

    pub(super) fn config(&self, service: &str, to: &Path, as_object: bool) -> anyhow::Result<Did> {
        let tags = self.tags().clone();
        let sources = self.settings.sources(&tags);
        let text = sources.config(service, &sources.variables()?)?;
        if !as_object {
            return write(to, &text);
        }
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": service, "namespace": self.settings.namespace()},
            "data": {"config.toml": text},
        });
        write(to, &format!("{object:#}\n"))
    }

    pub(super) fn write_secrets(&self, to: &Path, as_object: bool) -> anyhow::Result<Did> {
        if as_object {
            let object = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": variables::secret_name(&self.settings.stack),
                    "namespace": self.settings.namespace(),
                },
                "stringData": self.secrets,
            });
            write_private(to, &format!("{object:#}\n"))?;
        }
        Ok(Did::Preparation)
    }

    /// Copies what git tracks and what is new and not ignored, as it is in the working tree.
    pub(super) fn copy_sources(&self, place: &Place<'_>, folder: &Path) -> anyhow::Result<Did> {
        let mut list = std::process::Command::new("git");
        list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        list.current_dir(&self.settings.workspace);
        let list = subprocess::Command::new(list)
            .name("list the sources")
            .deadline(Duration::from_secs(60));
        let output = list.capture(place.cancel)?;
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        for name in names.split('\0').filter(|name| !name.is_empty()) {
            let from = self.settings.workspace.join(name);
            // What was deleted and not yet committed is listed all the same.
            if from.is_file() {
                copy(&from, &folder.join(name))?;
            }
        }
        Ok(Did::Preparation)
    }
}

pub(super) fn take(program: &Path, to: &Path) -> anyhow::Result<Did> {
    copy(program, to)?;
    Ok(Did::Preparation)
}

pub(super) fn stage(program: &Path, folder: &Path) -> anyhow::Result<Did> {
    let name = program.file_name().context("a program has a name")?;
    copy(program, &folder.join(name))?;
    Ok(Did::Preparation)
}

pub(super) fn write(to: &Path, text: &str) -> anyhow::Result<Did> {
    make_parent(to)?;
    fs::write(to, text).with_context(|| format!("can't write {}", to.display()))?;
    Ok(Did::Preparation)
}

/// Replaces a file by a copy of another. A program that runs can't be overwritten, but it can be replaced.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    make_parent(to)?;
    let new = to.with_extension("new");
    fs::copy(from, &new)
        .and_then(|_| fs::rename(&new, to))
        .with_context(|| format!("can't copy {} to {}", from.display(), to.display()))
}

fn make_parent(file: &Path) -> anyhow::Result<()> {
    let parent = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("can't make the folder {}", parent.display()))
}

fn write_private(to: &Path, text: &str) -> anyhow::Result<()> {
    make_parent(to)?;
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("can't write {}", to.display()))
}

/// The run's secrets: those in its folder, or new ones. A kept run's database knows the old ones.
pub(super) fn secrets(settings: &Settings, folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("can't make {}", folder.display()))?;
    let mut secrets = BTreeMap::new();
    for key in &settings.stack.stack.secrets {
        let file = folder.join(key);
        let value = match fs::read_to_string(&file) {
            Ok(value) => value,
            Err(_) => {
                let value = embedded::secret()?;
                write_private(&file, &value)?;
                value
            }
        };
        secrets.insert(key.clone(), value);
    }
    Ok(secrets)
}
