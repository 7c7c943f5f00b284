//! Rules for a run in a shared cluster: it creates its own namespace, and objects that are named after it.

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::settings::Settings;
use crate::{labels, yaml::Object};

const CRD: &str = "CustomResourceDefinition";

/// Returns an error for each object of the manifests that would affect others.
pub(crate) fn rejections(settings: &Settings) -> anyhow::Result<Vec<anyhow::Error>> {
    let sources = settings.sources(&BTreeMap::new());
    let variables = sources.manifest_variables()?;
    let mut rejected = Vec::new();
    for (entry, path) in settings.stack.manifests() {
        let objects = sources.manifest(entry, &variables)?;
        rejected.extend(
            objects
                .iter()
                .filter_map(|object| rejection(object, settings.namespace()))
                .map(|reason| anyhow!("{}: {reason}", crate::stack::shown(&path))),
        );
    }
    Ok(rejected)
}

fn rejection(object: &Object, namespace: &str) -> Option<String> {
    let reference = object.reference();
    match namespace_of(object) {
        _ if object.kind() == CRD => None,
        Some(own) if own == namespace => None,
        Some(other) => Some(format!(
            "{reference} is in the namespace {other}, which the run does not own; use {{{{ namespace }}}}"
        )),
        None if object.name().contains(namespace) => None,
        None => Some(format!(
            "{reference} has no namespace, and its name may collide with other runs; add {{{{ namespace }}}} to its name, \
             or as its namespace"
        )),
    }
}

fn namespace_of(object: &Object) -> Option<&str> {
    object.0.pointer("/metadata/namespace").and_then(Value::as_str)
}

/// Whether an object is cluster-scoped; CRDs are handled separately.
pub(crate) fn is_cluster_scoped(object: &Object) -> bool {
    namespace_of(object).is_none() && object.kind() != CRD
}

/// Returns an object as it is applied: cluster-scoped objects are labeled, and Services have no node port, since nodes
/// are shared and the run uses port-forward.
pub(crate) fn adapted(settings: &Settings, mut object: Object) -> Object {
    if namespace_of(&object).is_none() {
        let labels = labels::labels(&settings.stack.stack.name, &settings.run);
        for (key, value) in labels.as_object().into_iter().flatten() {
            object.0["metadata"]["labels"][key] = value.clone();
        }
    }
    if object.kind() == "Service" && object.0["spec"]["type"] == "NodePort" {
        object.0["spec"]["type"] = json!("ClusterIP");
        let ports = object.0.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
            port.remove("nodePort");
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        e2e::settings::{Order, testing},
        run_folder::ProviderName,
    };

    #[test]
    fn own_stack_stays_within_its_namespace() {
        let mut settings = testing::settings(ProviderName::Cluster, Order::Graph);
        settings.stack.stack.namespace = "kubernaut-system-run".to_owned();
        let rejected = rejections(&settings).unwrap();
        assert!(rejected.is_empty(), "{rejected:?}");
    }

    #[test]
    fn rejects_objects_that_would_affect_others() {
        let rejected = |object: Value| rejection(&Object(object), "shop-run");
        let role = |name: &str| json!({"kind": "ClusterRole", "metadata": {"name": name}});
        assert_eq!(rejected(role("shop-run-orders")), None);
        let shared = rejected(role("orders")).unwrap();
        assert!(shared.contains("clusterrole/orders has no namespace"), "{shared}");
        let elsewhere = json!({"kind": "Secret", "metadata": {"name": "a", "namespace": "kube-system"}});
        let elsewhere = rejected(elsewhere).unwrap();
        assert!(
            elsewhere.contains("secret/a is in the namespace kube-system"),
            "{elsewhere}"
        );
    }

    #[test]
    fn removes_node_ports_and_labels_cluster_scoped_objects() {
        let settings = testing::settings(ProviderName::Cluster, Order::Graph);
        let service = json!({"kind": "Service", "metadata": {"name": "a", "namespace": "n"},
            "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]}});
        let service = adapted(&settings, Object(service));
        assert_eq!(
            service.0["spec"],
            json!({"type": "ClusterIP", "ports": [{"port": 80}]})
        );
        let role = json!({"kind": "ClusterRole", "metadata": {"name": "a"}});
        let role = adapted(&settings, Object(role));
        assert_eq!(role.0["metadata"]["labels"]["xtask-e2e/run"], "run");
    }
}
