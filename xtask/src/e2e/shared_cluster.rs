//! What a run may make in a cluster that others use too: a namespace of its own, and what bears its name.

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::settings::Settings;
use crate::{labels, yaml::Object};

const CRD: &str = "CustomResourceDefinition";

/// What in the manifests would reach beyond the run: each an error that says what to write instead.
pub(crate) fn refusals(settings: &Settings) -> anyhow::Result<Vec<anyhow::Error>> {
    let sources = settings.sources(&BTreeMap::new());
    let variables = sources.manifest_variables()?;
    let mut refused = Vec::new();
    for (entry, path) in settings.stack.manifests() {
        let objects = sources.manifest(entry, &variables)?;
        refused.extend(
            objects
                .iter()
                .filter_map(|object| refusal(object, settings.namespace()))
                .map(|why| anyhow!("{}: {why}", crate::stack::shown(&path))),
        );
    }
    Ok(refused)
}

fn refusal(object: &Object, namespace: &str) -> Option<String> {
    let reference = object.reference();
    match namespace_of(object) {
        _ if object.kind() == CRD => None,
        Some(own) if own == namespace => None,
        Some(other) => Some(format!(
            "{reference} goes into the namespace {other}, which is not this run's: write {{{{ namespace }}}}"
        )),
        None if object.name().contains(namespace) => None,
        None => Some(format!(
            "{reference} has no namespace, and its name would be shared with other runs in the cluster: put \
             {{{{ namespace }}}} into one of both"
        )),
    }
}

fn namespace_of(object: &Object) -> Option<&str> {
    object.0.pointer("/metadata/namespace").and_then(Value::as_str)
}

/// Whether an object is the cluster's and not a namespace's; definitions of kinds are told apart.
pub(crate) fn is_cluster_scoped(object: &Object) -> bool {
    namespace_of(object).is_none() && object.kind() != CRD
}

/// The object as it goes into the cluster: what is outside of the namespace is labelled, and Services take no port of
/// the nodes, since those are shared and the run comes by port-forward.
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
        run_folder::Provider,
    };

    #[test]
    fn the_projects_own_stack_stays_within_its_namespace() {
        let mut settings = testing::settings(Provider::Cluster, Order::Graph);
        settings.stack.stack.namespace = "kubernaut-system-run".to_owned();
        let refused = refusals(&settings).unwrap();
        assert!(refused.is_empty(), "{refused:?}");
    }

    #[test]
    fn what_would_reach_others_is_refused_with_what_to_write() {
        let refused = |object: Value| refusal(&Object(object), "shop-run");
        let role = |name: &str| json!({"kind": "ClusterRole", "metadata": {"name": name}});
        assert_eq!(refused(role("shop-run-orders")), None);
        let shared = refused(role("orders")).unwrap();
        assert!(shared.contains("clusterrole/orders has no namespace"), "{shared}");
        let elsewhere = json!({"kind": "Secret", "metadata": {"name": "a", "namespace": "kube-system"}});
        let elsewhere = refused(elsewhere).unwrap();
        assert!(
            elsewhere.contains("secret/a goes into the namespace kube-system"),
            "{elsewhere}"
        );
    }

    #[test]
    fn a_service_takes_no_port_of_the_nodes_and_cluster_wide_objects_say_whose_they_are() {
        let settings = testing::settings(Provider::Cluster, Order::Graph);
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
