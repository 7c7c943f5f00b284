//! The stack file: the deployment under test, and the operations that it allows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;

/// Description of a deployment, as the runner writes it. URLs are enough; what is absent limits which scenarios run.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Stack {
    /// `kind`, `local` or `cluster`.
    pub(crate) provider: String,
    /// The services' namespace; requests of missing namespaces are created here.
    pub(crate) namespace: String,
    /// Access to the Kubernetes API, with the right to create namespaces.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Base URLs by service and port name.
    pub(crate) services: BTreeMap<String, BTreeMap<String, String>>,
    /// Connection URLs by component and port name.
    #[serde(default)]
    pub(crate) components: BTreeMap<String, BTreeMap<String, String>>,
    /// The command that stops, starts and shows components; a verb and a name are appended.
    #[serde(default)]
    pub(crate) control: Vec<String>,
    /// The runner, for the scenarios about it.
    #[serde(default)]
    pub(crate) runner: Vec<String>,
    /// The services' programs on this machine.
    #[serde(default)]
    pub(crate) programs: BTreeMap<String, PathBuf>,
    /// Root of the sources from which the deployment was built.
    pub(crate) workspace: Option<PathBuf>,
}

impl Stack {
    /// Reads a stack file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the stack file {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("invalid stack file {}", path.display()))
    }

    /// Whether the services run in pods: with replicas, and rolling updates.
    pub(crate) fn has_pods(&self) -> bool {
        self.provider != "local"
    }

    /// The base URL of a service's port, for instance `gateway` and `api`.
    pub(crate) fn service(&self, service: &str, port: &str) -> Result<&str> {
        find(&self.services, "services", service, port)
    }

    /// The connection URL of a component's port, for instance `postgresql` and `sql`.
    pub(crate) fn component(&self, component: &str, port: &str) -> Result<&str> {
        find(&self.components, "components", component, port)
    }
}

fn find<'a>(
    table: &'a BTreeMap<String, BTreeMap<String, String>>,
    kind: &str,
    name: &str,
    port: &str,
) -> Result<&'a str> {
    table
        .get(name)
        .and_then(|ports| ports.get(port))
        .map(|url| url.trim_end_matches('/'))
        .ok_or_else(|| anyhow!("the stack file has no {kind}.{name}.{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_alone_are_a_valid_stack() {
        let stack: Stack = serde_json::from_str(
            r#"{"provider":"cluster","namespace":"n","services":{"gateway":{"api":"http://gateway.example/"}}}"#,
        )
        .unwrap();
        assert_eq!(stack.service("gateway", "api").unwrap(), "http://gateway.example");
        assert!(stack.control.is_empty() && stack.kubeconfig.is_none() && stack.workspace.is_none());
        let missing = stack.component("postgresql", "sql").unwrap_err().to_string();
        assert_eq!(missing, "the stack file has no components.postgresql.sql");
    }
}
