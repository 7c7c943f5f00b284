//! What is read as YAML: rendered manifests as objects, and the server that a kubeconfig names.

use std::{fs, path::Path};

use anyhow::{Context, anyhow};
use serde_json::Value;

/// One object of a manifest.
#[derive(Debug, Clone)]
pub(crate) struct Object(pub(crate) Value);

impl Object {
    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `deployment/gateway`, as kubectl takes it.
    pub(crate) fn reference(&self) -> String {
        format!("{}/{}", self.kind().to_lowercase(), self.name())
    }

    fn text(&self, pointer: &str) -> &str {
        self.0
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// The objects of a rendered manifest; `name` is what messages call it.
pub(crate) fn objects(name: &str, text: &str) -> anyhow::Result<Vec<Object>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| anyhow!("{error}"))
        .with_context(|| format!("{name} is not YAML once it is rendered"))?;
    let objects: Vec<_> = documents
        .into_iter()
        .filter(|document| !document.is_null())
        .map(Object)
        .collect();
    for object in &objects {
        if object.kind().is_empty() || object.name().is_empty() {
            return Err(anyhow!(
                "{name}: each document needs `kind` and `metadata.name`, one has not"
            ));
        }
    }
    Ok(objects)
}

/// The server's URL in a kubeconfig.
pub(crate) fn server(kubeconfig: &Path) -> anyhow::Result<String> {
    let text =
        fs::read_to_string(kubeconfig).with_context(|| format!("can't read {}", kubeconfig.display()))?;
    let config: Value =
        serde_saphyr::from_str(&text).map_err(|error| anyhow!("{}: {error}", kubeconfig.display()))?;
    let server = config
        .pointer("/clusters/0/cluster/server")
        .and_then(Value::as_str);
    server
        .map(str::to_owned)
        .with_context(|| format!("{} names no server", kubeconfig.display()))
}
