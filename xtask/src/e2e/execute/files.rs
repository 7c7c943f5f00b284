//! Steps that write files: build contexts, rendered manifests and configurations, secrets.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use anyhow::Context;
use serde_json::json;

use super::{RunContext, StepContext, StepOutcome};
use crate::{
    command::Command,
    e2e::{
        hash,
        plan::{Content, TagSource},
        settings::Settings,
        shared_cluster, variables,
    },
    yaml::Object,
};

impl RunContext<'_> {
    /// Sets the tag of a service or component.
    pub(super) fn tag(
        &self,
        step: &StepContext<'_>,
        name: &str,
        source: &TagSource,
    ) -> anyhow::Result<StepOutcome> {
        let tag = match source {
            TagSource::Hash { files, outputs } => {
                let mut texts = Vec::new();
                for command in outputs {
                    texts.push(output(step, command)?);
                }
                let tag = hash::short_of(files, &texts)?;
                step.task.note(format!("version {tag}"));
                tag
            }
            TagSource::ImageId(inspect) => {
                let id = output(step, inspect)?;
                let id = id.trim().trim_start_matches("sha256:");
                anyhow::ensure!(!id.is_empty(), "the image of {name} has no id");
                id.chars().take(12).collect()
            }
        };
        self.tags().insert(name.to_owned(), tag);
        Ok(StepOutcome::Prepared)
    }

    pub(super) fn write(
        &self,
        step: &StepContext<'_>,
        to: &Path,
        content: &Content,
    ) -> anyhow::Result<StepOutcome> {
        match content {
            Content::Text(text) => write(to, text),
            Content::Copy(file) => copy(file, to),
            Content::Sources => self.copy_sources(step, to),
            Content::Manifest { entry, kinds } => write(to, &self.manifest(entry, kinds)?),
            Content::Config { service } => write(to, &self.config(service)?),
            Content::ConfigMap { service } => write(
                to,
                &self.object(
                    "ConfigMap",
                    service,
                    "data",
                    json!({"config.toml": self.config(service)?}),
                ),
            ),
            Content::Secret => {
                let name = variables::secret_name(&self.settings.stack);
                write_private(
                    to,
                    &self.object("Secret", &name, "stringData", json!(self.secrets)),
                )
            }
            Content::ClusterScoped => write(to, &self.cluster_scoped()?),
            // It may contain a key.
            Content::Kubeconfig(view) => write_private(to, &output(step, view)?),
            Content::StackFile => write(to, &self.stack_file()?),
        }?;
        Ok(StepOutcome::Prepared)
    }

    fn object(&self, kind: &str, name: &str, field: &str, content: serde_json::Value) -> String {
        let object = json!({
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.settings.namespace()},
            field: content,
        });
        format!("{object:#}\n")
    }

    /// Returns the rendered objects of an entry's manifest.
    fn objects(&self, entry: &str) -> anyhow::Result<Vec<Object>> {
        let tags = self.tags().clone();
        let sources = self.settings.sources(&tags);
        sources.manifest(entry, &sources.manifest_variables()?)
    }

    /// Returns an entry's manifest with the objects of some kinds, or all of them if `kinds` is empty.
    fn manifest(&self, entry: &str, kinds: &[String]) -> anyhow::Result<String> {
        let objects = self.objects(entry)?.into_iter();
        // YAML is a superset of JSON: the objects that were checked are written, not the text that was read.
        let texts: Vec<String> = objects
            .map(|object| self.settings.provider.adapted(self.settings, object))
            .filter(|object| kinds.is_empty() || kinds.iter().any(|kind| kind == object.kind()))
            .map(|object| format!("{:#}\n", object.0))
            .collect();
        Ok(texts.join("---\n"))
    }

    /// Returns the objects outside of the namespace as one list, which teardown deletes.
    fn cluster_scoped(&self) -> anyhow::Result<String> {
        let mut items = Vec::new();
        for (entry, _) in self.settings.stack.manifests() {
            let objects = self.objects(entry)?.into_iter();
            let objects = objects.filter(shared_cluster::is_cluster_scoped);
            items.extend(objects.map(|object| object.0));
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        Ok(format!("{list:#}\n"))
    }

    fn config(&self, service: &str) -> anyhow::Result<String> {
        let tags = self.tags().clone();
        let sources = self.settings.sources(&tags);
        sources.config(service, &sources.variables()?)
    }

    /// Copies the files that git tracks and new files that it does not ignore, as they are in the working tree.
    fn copy_sources(&self, step: &StepContext<'_>, folder: &Path) -> anyhow::Result<()> {
        let list = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .folder(&self.settings.workspace);
        let names = output(step, &list)?;
        for name in names.split('\0').filter(|name| !name.is_empty()) {
            let from = self.settings.workspace.join(name);
            // A deleted file is listed until its deletion is committed.
            if from.is_file() {
                copy(&from, &folder.join(name))?;
            }
        }
        Ok(())
    }
}

/// Returns what a command prints to stdout.
fn output(step: &StepContext<'_>, command: &Command) -> anyhow::Result<String> {
    let command = subprocess::Command::new(command.filled(str::to_owned)).deadline(step.timeout);
    let output = command.capture(step.cancel)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn write(to: &Path, text: &str) -> anyhow::Result<()> {
    create_parent(to)?;
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

/// Replaces a file by a copy of another. A running program cannot be overwritten, but it can be replaced.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    create_parent(to)?;
    let new = to.with_extension("new");
    fs::copy(from, &new)
        .and_then(|_| fs::rename(&new, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn create_parent(file: &Path) -> anyhow::Result<()> {
    let parent = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot create the folder {}", parent.display()))
}

/// Writes a file that only its owner can read.
fn write_private(to: &Path, text: &str) -> anyhow::Result<()> {
    create_parent(to)?;
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", to.display()))
}

/// Returns the run's secrets: those in its folder, or new ones. The database of a kept run uses the old ones.
pub(super) fn secrets(settings: &Settings, folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
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
