//! Defaults that are not in the schema: they belong to the writer, as if it had sent them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::object::{self, text};
use crate::resources::Resource;
use crate::schema::{self, Schema};
use crate::store::NAMESPACES;

/// Defaults of the built-in types, by the name of the type.
pub(super) static DEFAULTS: LazyLock<BTreeMap<String, Map<String, Value>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../builtin/defaults.json")).unwrap_or_default());

/// Sets the defaults, which belong to the writer as if it had sent them.
pub(in crate::api) fn complete(resource: &Resource, object: &mut Value) {
    object::drop_empty_metadata(object);
    let Some(shape) = &resource.schema else { return };
    if resource.custom {
        schema::apply_defaults(shape, object);
        return;
    }
    fill(shape, object, true);
    match &*resource.table {
        NAMESPACES => {
            let name = object::meta(object, "name").to_owned();
            let labels = object::metadata_mut(object)
                .entry("labels")
                .or_insert_with(|| json!({}));
            labels["kubernetes.io/metadata.name"] = name.into();
        }
        "secrets" => encode_string_data(object),
        "pods" => {
            object::child_mut(object, "spec")
                .entry("enableServiceLinks")
                .or_insert_with(|| true.into());
            default_requests(object);
        }
        "replicationcontrollers" => complete_controller(object),
        "horizontalpodautoscalers.autoscaling" => complete_behavior(object),
        "limitranges" => object::items_mut(object, "/spec/limits").for_each(complete_limits),
        "jobs.batch" => complete_job_spec(object),
        "services" => super::services::complete(object),
        "statefulsets.apps" => {
            for claim in object::items_mut(object, "/spec/volumeClaimTemplates") {
                claim["apiVersion"] = "v1".into();
                claim["kind"] = "PersistentVolumeClaim".into();
            }
        }
        "clusterrolebindings.rbac.authorization.k8s.io" | "rolebindings.rbac.authorization.k8s.io" => {
            complete_subjects(object);
        }
        "networkpolicies.networking.k8s.io" => complete_policy(object),
        _ => {}
    }
}

/// Defaults by type, from the outside in.
fn fill(shape: &Schema, value: &mut Value, root: bool) {
    match value {
        Value::Object(map) => {
            let name = shape.node().name.as_str();
            drop_empty(shape, map);
            for (key, default) in DEFAULTS
                .get(name)
                .into_iter()
                .flatten()
                .filter(|(key, _)| !root || *key != "status")
            {
                map.entry(key.clone()).or_insert_with(|| default.clone());
            }
            fill_computed(name, map);
            for (key, inner) in map.iter_mut() {
                if let Some(property) = shape.property(key) {
                    fill(&property, inner, false);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = shape.items() {
                list.iter_mut().for_each(|inner| fill(&items, inner, false));
            }
        }
        _ => {}
    }
}

/// Go omits empty maps and lists where they are optional, and zeros of most fields.
fn drop_empty(shape: &Schema, map: &mut Map<String, Value>) {
    let name = shape.node().name.as_str();
    map.retain(|key, value| {
        let is_zero = match &*value {
            Value::Bool(truth) => !truth,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        if is_zero {
            return !crate::protobuf::omits_zero(name, key);
        }
        let empty_list = value.as_array().is_some_and(Vec::is_empty);
        let empty_map = value.as_object().is_some_and(Map::is_empty);
        if !(empty_list || empty_map) || shape.node().required.contains(key) {
            return true;
        }
        let free = |property: Schema| {
            property.node().additional != schema::Additional::None && property.node().properties.is_empty()
        };
        !(empty_list || shape.property(key).is_some_and(free))
    });
}

/// Defaults that depend on other fields.
fn fill_computed(name: &str, map: &mut Map<String, Value>) {
    let is_rolling = map.get("type").and_then(Value::as_str) == Some("RollingUpdate");
    match name.rsplit('.').next().unwrap_or_default() {
        "Container" | "EphemeralContainer" => {
            let image = map.get("image").and_then(Value::as_str).unwrap_or_default();
            let tag = image
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .split_once(':')
                .map_or("latest", |(_, tag)| tag);
            let policy = if tag == "latest" && !image.contains('@') {
                "Always"
            } else {
                "IfNotPresent"
            };
            map.entry("imagePullPolicy").or_insert_with(|| policy.into());
        }
        "ServicePort" => {
            if let Some(port) = map.get("port").cloned() {
                map.entry("targetPort").or_insert(port);
            }
        }
        "DeploymentStrategy" | "StatefulSetUpdateStrategy" | "DaemonSetUpdateStrategy" if is_rolling => {
            map.entry("rollingUpdate").or_insert_with(|| json!({}));
        }
        "PodSpec" => {
            if let Some(account) = map.get("serviceAccountName").cloned() {
                map.entry("serviceAccount").or_insert(account);
            }
        }
        _ => {}
    }
}

/// Defaults of a job's own specification; a cron job's template gets none.
fn complete_job_spec(object: &mut Value) {
    let spec = object::child_mut(object, "spec");
    for (key, default) in DEFAULTS.get("spec of a Job").into_iter().flatten() {
        spec.entry(key.clone()).or_insert_with(|| default.clone());
    }
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        spec.insert("completions".into(), 1.into());
    }
    spec.entry("parallelism").or_insert_with(|| 1.into());
}

/// A replication controller has the labels of its pods, and selects them.
fn complete_controller(object: &mut Value) {
    let Some(labels) = object.pointer("/spec/template/metadata/labels").cloned() else {
        return;
    };
    object::child_mut(object, "spec")
        .entry("selector")
        .or_insert_with(|| labels.clone());
    object::metadata_mut(object).entry("labels").or_insert(labels);
}

/// Rules by which an autoscaler changes the number of pods, where it has any.
fn complete_behavior(object: &mut Value) {
    let Some(behavior) = object.pointer_mut("/spec/behavior") else {
        return;
    };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let up = json!({
        "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, percent],
    });
    let down = json!({"selectPolicy": "Max", "policies": [percent]});
    for (name, defaults) in [("scaleUp", up), ("scaleDown", down)] {
        let rules = object::child_mut(behavior, name);
        if let Value::Object(defaults) = defaults {
            for (key, value) in defaults {
                rules.entry(key).or_insert(value);
            }
        }
    }
}

/// A container that has a limit and no request of a resource requests the limit.
fn default_requests(pod: &mut Value) {
    for list in ["/spec/containers", "/spec/initContainers"] {
        for container in object::items_mut(pod, list) {
            add_missing(&mut container["resources"], "requests", "limits");
        }
    }
}

/// Defaults of containers' limits and requests, from each other and from their bounds.
fn complete_limits(limits: &mut Value) {
    if text(limits, "/type") == "Container" {
        add_missing(limits, "default", "max");
        add_missing(limits, "defaultRequest", "default");
        add_missing(limits, "defaultRequest", "min");
    }
}

/// Adds the entries of one map that another one does not have.
fn add_missing(owner: &mut Value, to: &str, from: &str) {
    let Some(entries) = owner[from].as_object().filter(|map| !map.is_empty()).cloned() else {
        return;
    };
    let map = object::child_mut(owner, to);
    for (key, value) in entries {
        map.entry(key).or_insert(value);
    }
}

fn encode_string_data(object: &mut Value) {
    let Some(plain) = object.as_object_mut().and_then(|map| map.remove("stringData")) else {
        return;
    };
    let data = object::child_mut(object, "data");
    for (key, value) in object::pairs(Some(&plain)) {
        data.insert(key.to_owned(), STANDARD.encode(value).into());
    }
}

fn complete_subjects(object: &mut Value) {
    for subject in object::items_mut(object, "/subjects") {
        if matches!(text(subject, "/kind"), "User" | "Group") && text(subject, "/apiGroup").is_empty() {
            subject["apiGroup"] = "rbac.authorization.k8s.io".into();
        }
    }
}

fn complete_policy(object: &mut Value) {
    let egress = object.pointer("/spec/egress").is_some();
    let types = if egress {
        json!(["Ingress", "Egress"])
    } else {
        json!(["Ingress"])
    };
    object::child_mut(object, "spec")
        .entry("policyTypes")
        .or_insert(types);
}
