//! Values that the server sets: addresses, ports, selectors, zeros. They belong to no field manager.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::defaults::DEFAULTS;
use crate::object::{self, text};
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
        "services" => complete_service(object, old),
        "pods" if old.is_none() => {
            let class = quality_of_service(object);
            object::child_mut(object, "status").insert("qosClass".into(), class.into());
        }
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

/// Gives a service a cluster address where it needs one.
fn complete_service(object: &mut Value, old: Option<&Value>) {
    let kind = text(object, "/spec/type").to_owned();
    let spec = object::child_mut(object, "spec");
    if kind == "ExternalName" {
        for key in ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            spec.remove(key);
        }
        return;
    }
    let before = old
        .map(|old| text(old, "/spec/clusterIP"))
        .filter(|address| !address.is_empty());
    if spec
        .get("clusterIP")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty()
    {
        let address = before.map_or_else(free_address, ToOwned::to_owned);
        spec.insert("clusterIP".into(), address.into());
    }
    let address = spec["clusterIP"].clone();
    spec.insert("clusterIPs".into(), json!([address]));
    spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
    spec.entry("ipFamilyPolicy")
        .or_insert_with(|| "SingleStack".into());
    if !matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        return;
    }
    spec.entry("externalTrafficPolicy")
        .or_insert_with(|| "Cluster".into());
    if kind == "LoadBalancer" {
        spec.entry("allocateLoadBalancerNodePorts")
            .or_insert_with(|| true.into());
    }
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        port.entry("nodePort")
            .or_insert_with(|| fastrand::u16(30_000..=32_767).into());
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

fn free_address() -> String {
    format!("10.96.{}.{}", fastrand::u8(1..255), fastrand::u8(1..255))
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
