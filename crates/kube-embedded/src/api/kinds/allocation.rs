//! Values that the server sets: addresses, ports, selectors, zeros. They belong to no field manager.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::defaults::DEFAULTS;
use crate::object;
use crate::resources::Resource;
use crate::schema::Schema;
use crate::store::NAMESPACES;

/// Zero values that Go writes.
static ZEROS: LazyLock<BTreeMap<String, Map<String, Value>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../builtin/zeros.json")).unwrap_or_default());

/// Sets the server's values, which belong to no field manager. `old` is the object before the write.
pub(in crate::api) fn allocate(resource: &Resource, object: &mut Value, old: Option<&Value>) {
    let Some(shape) = resource.schema.as_ref().filter(|_| !resource.custom) else {
        return;
    };
    if let (Some(status), Some(map)) = (
        DEFAULTS
            .get(&shape.node().name)
            .and_then(|defaults| defaults.get("status")),
        object.as_object_mut(),
    ) {
        map.entry("status").or_insert_with(|| status.clone());
    }
    put_zeros(shape, object);
    match &*resource.table {
        NAMESPACES if old.is_none() => {
            object::child_mut(object, "spec").insert("finalizers".into(), json!(["kubernetes"]));
        }
        "endpointslices.discovery.k8s.io" => {
            for list in ["endpoints", "ports"] {
                if object[list].as_array().is_some_and(Vec::is_empty) {
                    object[list] = Value::Null;
                }
            }
        }
        "pods" if old.is_none() => {
            let class = quality_of_service(object);
            object::child_mut(object, "status").insert("qosClass".into(), class.into());
        }
        "pods" => complete_addresses(object),
        "daemonsets.apps" => count_templates(object, old),
        "jobs.batch" if old.is_none() => complete_job(object),
        _ => {}
    }
}

fn put_zeros(shape: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, zero) in ZEROS.get(&shape.node().name).into_iter().flatten() {
                map.entry(key.clone()).or_insert_with(|| zero.clone());
            }
            for (key, inner) in map.iter_mut() {
                if let Some(property) = shape.property(key) {
                    put_zeros(&property, inner);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = shape.items() {
                list.iter_mut().for_each(|inner| put_zeros(&items, inner));
            }
        }
        _ => {}
    }
}

/// The quality of service class that follows from the containers' resources.
fn quality_of_service(pod: &Value) -> &'static str {
    let lists = ["/spec/initContainers", "/spec/containers"];
    let containers = lists.iter().flat_map(|list| object::items(pod, list));
    let resources: Vec<&Value> = containers.map(|container| &container["resources"]).collect();
    let says = |resources: &Value, part: &str| resources[part].as_object().is_some_and(|map| !map.is_empty());
    if resources
        .iter()
        .all(|resources| !says(resources, "limits") && !says(resources, "requests"))
    {
        return "BestEffort";
    }
    let fixed = |resources: &&Value| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = &resources["limits"][*name];
            !limit.is_null()
                && (resources["requests"][*name].is_null() || resources["requests"][*name] == *limit)
        })
    };
    if resources.iter().all(fixed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// A pod's address is the first one of its addresses.
fn complete_addresses(pod: &mut Value) {
    let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) else {
        return;
    };
    let first = status
        .get("podIPs")
        .and_then(|list| list.pointer("/0/ip"))
        .cloned();
    match (first, status.get("podIP").cloned()) {
        (Some(first), _) => drop(status.insert("podIP".into(), first)),
        (None, Some(address)) => drop(status.insert("podIPs".into(), json!([{ "ip": address }]))),
        (None, None) => {}
    }
}

/// Counts the changes of a daemon set's template in an annotation, as old clients expect.
fn count_templates(object: &mut Value, old: Option<&Value>) {
    const KEY: &str = "deprecated.daemonset.template.generation";
    let count = old.map_or(1, |old| {
        let before = old["metadata"]["annotations"][KEY]
            .as_str()
            .and_then(|text| text.parse().ok());
        before.unwrap_or(1) + i64::from(old["spec"]["template"] != object["spec"]["template"])
    });
    let annotations = object::metadata_mut(object)
        .entry("annotations")
        .or_insert_with(|| json!({}));
    annotations[KEY] = count.to_string().into();
}

/// Sets a job's selector and the label that its pods get.
fn complete_job(object: &mut Value) {
    if object.pointer("/spec/manualSelector") == Some(&true.into()) {
        return;
    }
    let (uid, name) = (
        object::meta(object, "uid").to_owned(),
        object::meta(object, "name").to_owned(),
    );
    let labels = json!({
        "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name,
        "controller-uid": uid, "job-name": name,
    });
    if let Some(template) = object.pointer_mut("/spec/template") {
        let own = object::metadata_mut(template)
            .entry("labels")
            .or_insert_with(|| json!({}));
        if let (Some(own), Value::Object(labels)) = (own.as_object_mut(), labels) {
            own.extend(labels);
        }
    }
    if object.pointer("/metadata/labels").is_none() {
        let labels = object
            .pointer("/spec/template/metadata/labels")
            .cloned()
            .unwrap_or_default();
        object::metadata_mut(object).insert("labels".into(), labels);
    }
    object["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
}
