//! YAML files: rendered manifests and kubeconfigs.

use std::{fs, path::Path};

use anyhow::{Context, anyhow};
use serde_json::Value;

/// A Kubernetes object of a manifest.
#[derive(Debug, Clone)]
pub(crate) struct Object(pub(crate) Value);

impl Object {
    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// Name for kubectl, like `deployment/gateway`.
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

/// Parses the objects of a rendered manifest; errors contain `name`.
pub(crate) fn objects(name: &str, text: &str) -> anyhow::Result<Vec<Object>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| anyhow!("{error}"))
        .with_context(|| format!("cannot parse the rendered {name} as YAML"))?;
    let objects: Vec<_> = documents
        .into_iter()
        .filter(|document| !document.is_null())
        .map(Object)
        .collect();
    for object in &objects {
        if object.kind().is_empty() || object.name().is_empty() {
            return Err(anyhow!(
                "invalid manifest {name}: a document has no `kind` or `metadata.name`"
            ));
        }
    }
    Ok(objects)
}

/// Returns the server's URL in a kubeconfig.
pub(crate) fn server(kubeconfig: &Path) -> anyhow::Result<String> {
    let text =
        fs::read_to_string(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let config: Value = serde_saphyr::from_str(&text)
        .map_err(|error| anyhow!("cannot parse {}: {error}", kubeconfig.display()))?;
    let server = config
        .pointer("/clusters/0/cluster/server")
        .and_then(Value::as_str);
    server
        .map(str::to_owned)
        .with_context(|| format!("no server in {}", kubeconfig.display()))
}
