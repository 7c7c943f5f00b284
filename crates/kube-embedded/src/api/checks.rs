//! Checks of built-in objects: required fields, and rules that no schema expresses.

mod cron;
pub(super) mod scale;
mod slices;

use serde_json::{Map, Value, json};

use super::{Call, pods};
use crate::object;
use crate::resources::names::{config_key, quoted};
use crate::schema::{self, Schema, join};
use crate::status::Cause;

/// Checks of a built-in object.
pub(super) fn check(call: &Call, shape: &Schema, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    required(shape, object, "", &mut causes);
    match &*call.resource.table {
        "configmaps" | "secrets" => check_data(object, old, &mut causes),
        "deployments.apps" | "replicasets.apps" | "statefulsets.apps" | "daemonsets.apps" => {
            check_workload(object, old, &mut causes);
        }
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            immutable(object, old, "roleRef", "cannot change roleRef", &mut causes);
        }
        "pods" if call.subresource == "binding" => {}
        "pods" if call.subresource == "ephemeralcontainers" => {
            pods::check_ephemeral(object, old, &mut causes);
        }
        "pods" => check_pod(object, old, &mut causes),
        "jobs.batch" => {
            check_restart(object, "spec.template.spec.restartPolicy", &mut causes);
            immutable(object, old, "spec.selector", IMMUTABLE, &mut causes);
            immutable(object, old, "spec.template", IMMUTABLE, &mut causes);
        }
        "cronjobs.batch" => {
            cron::check(object, old, &mut causes);
            check_restart(
                object,
                "spec.jobTemplate.spec.template.spec.restartPolicy",
                &mut causes,
            );
        }
        "services" => check_service(object, &mut causes),
        "endpointslices.discovery.k8s.io" => slices::check(object, &mut causes),
        _ => {}
    }
    causes
}

/// The real server's message for most immutable fields.
const IMMUTABLE: &str = "field is immutable";

/// Checks required fields. A status is written by controllers, and not required.
fn required(shape: &Schema, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(map) => required_of_object(shape, map, path, causes),
        Value::Array(list) => {
            let Some(items) = shape.items() else { return };
            for (index, inner) in list.iter().enumerate() {
                required(&items, inner, &format!("{path}[{index}]"), causes);
            }
        }
        _ => {}
    }
}

fn required_of_object(shape: &Schema, map: &Map<String, Value>, path: &str, causes: &mut Vec<Cause>) {
    let node = shape.node();
    // A Go struct that is not a pointer exists even when it was not sent: its required fields are missing.
    let is_implied = |property: &Schema| property.node().default == Some(json!({}));
    let is_left_to_others = |name: &str| path.is_empty() && matches!(name, "metadata" | "status");
    for (name, id) in &node.properties {
        let property = shape.at(*id);
        if !map.contains_key(name) && is_implied(&property) && !is_left_to_others(name) {
            required(&property, &json!({}), &join(path, name), causes);
        }
    }
    for name in &node.required {
        let property = shape.property(name);
        if !property.as_ref().is_some_and(is_implied) && is_missing(property.as_ref(), name, map.get(name)) {
            causes.push(Cause::required(join(path, name), ""));
        }
    }
    for (name, inner) in map {
        if let Some(property) = shape.property(name).filter(|_| !is_left_to_others(name)) {
            required(&property, inner, &join(path, name), causes);
        }
    }
}

/// Whether a required field is missing. Numbers and booleans have a zero in Go, and are never missing.
fn is_missing(property: Option<&Schema>, name: &str, value: Option<&Value>) -> bool {
    let has_zero = matches!(
        property.and_then(|property| property.node().kind),
        Some(schema::Type::Boolean | schema::Type::Integer | schema::Type::Number)
    );
    match value {
        // A slice may be empty, which is a null.
        None | Some(Value::Null) => !has_zero && name != "endpoints",
        Some(Value::Array(list)) => list.is_empty() && name == "containers",
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    }
}

/// Checks that a field, such as `spec.selector`, has not changed.
fn immutable(object: &Value, old: Option<&Value>, field: &str, detail: &str, causes: &mut Vec<Cause>) {
    let pointer = format!("/{}", field.replace('.', "/"));
    if let Some(old) = old
        && old.pointer(&pointer) != object.pointer(&pointer)
    {
        let shown = object.pointer(&pointer).cloned().unwrap_or_default().to_string();
        causes.push(Cause::invalid(field, &shown, detail));
    }
}

/// Checks that the pods of a job end.
fn check_restart(object: &Value, field: &str, causes: &mut Vec<Cause>) {
    match object::text(object, &format!("/{}", field.replace('.', "/"))) {
        "OnFailure" | "Never" => {}
        "" | "Always" => causes.push(Cause::required(field, "valid values: \"OnFailure\", \"Never\"")),
        other => {
            let supported = [quoted("OnFailure"), quoted("Never")];
            causes.push(Cause::not_supported(field, &quoted(other), &supported));
        }
    }
}

/// Checks that a service has ports, and that several have names.
fn check_service(object: &Value, causes: &mut Vec<Cause>) {
    let ports: Vec<&Value> = object::items(object, "/spec/ports").collect();
    let needs_ports = object::text(object, "/spec/clusterIP") != "None"
        && object::text(object, "/spec/type") != "ExternalName";
    if ports.is_empty() && needs_ports {
        causes.push(Cause::required("spec.ports", ""));
    }
    let part = |index: usize, key: &str| ports[index].get(key).cloned().unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        let name = object::text(port, "/name");
        if name.is_empty() && ports.len() > 1 {
            causes.push(Cause::required(format!("spec.ports[{index}].name"), ""));
        }
        if !name.is_empty()
            && ports[..index]
                .iter()
                .any(|other| object::text(other, "/name") == name)
        {
            causes.push(Cause::duplicate(
                format!("spec.ports[{index}].name"),
                &quoted(name),
            ));
        }
        if !port["port"]
            .as_i64()
            .is_some_and(|port| (1..=65_535).contains(&port))
        {
            let shown = part(index, "port").to_string();
            causes.push(Cause::invalid(
                format!("spec.ports[{index}].port"),
                &shown,
                "must be between 1 and 65535, inclusive",
            ));
        }
        let is_same = |other: &usize| {
            ["port", "protocol"]
                .iter()
                .all(|key| part(*other, key) == part(index, key))
        };
        if (0..index).any(|other| is_same(&other)) {
            causes.push(Cause::duplicate(
                format!("spec.ports[{index}]"),
                &port.to_string(),
            ));
        }
    }
}

fn check_data(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object::pairs(object.get(field)) {
            size += value.len();
            causes.extend(config_key(field, key));
        }
    }
    if size > 1024 * 1024 {
        causes.push(Cause::too_long("data", 1024 * 1024));
    }
    let Some(old) = old else { return };
    if old["immutable"] == true {
        if object["immutable"] != true {
            causes.push(Cause::forbidden(
                "immutable",
                "field is immutable when `immutable` is set",
            ));
        }
        for field in ["data", "binaryData"] {
            if old.get(field) != object.get(field) {
                causes.push(Cause::forbidden(
                    field,
                    "field is immutable when `immutable` is set",
                ));
            }
        }
    }
    if old["kind"] == "Secret" {
        immutable(object, Some(old), "type", IMMUTABLE, causes);
    }
}

/// Checks that a pod's specification is unchanged except for the few mutable fields.
fn check_pod(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let Some(old) = old else {
        if object.pointer("/spec/ephemeralContainers").is_some() {
            causes.push(Cause::forbidden(
                "spec.ephemeralContainers",
                "cannot be set on create",
            ));
        }
        return;
    };
    let fixed = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        for list in ["containers", "initContainers"] {
            for container in spec
                .get_mut(list)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                container["image"] = Value::Null;
            }
        }
        if let Some(map) = spec.as_object_mut() {
            for key in [
                "activeDeadlineSeconds",
                "tolerations",
                "terminationGracePeriodSeconds",
            ] {
                map.remove(key);
            }
        }
        spec
    };
    if fixed(object) != fixed(old) {
        let detail = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        causes.push(Cause::forbidden("spec", detail));
    }
}

/// Checks that the selector matches the template's labels, and has not changed.
fn check_workload(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    immutable(object, old, "spec.selector", IMMUTABLE, causes);
    let labels = object.pointer("/spec/template/metadata/labels");
    let wanted = object.pointer("/spec/selector/matchLabels");
    let chosen = object::pairs(wanted)
        .all(|(key, value)| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str) == Some(value));
    let selects = object.pointer("/spec/selector").is_some();
    if !chosen || !selects {
        let mut shown: Vec<String> = object::pairs(labels)
            .map(|(key, value)| format!("{}:{}", quoted(key), quoted(value)))
            .collect();
        shown.sort();
        let shown = if labels.is_some() {
            format!("{{{}}}", shown.join(", "))
        } else {
            "(nil)".to_owned()
        };
        let detail = "`selector` does not match template `labels`";
        causes.push(Cause::invalid(
            "spec.template.metadata.labels",
            &format!("map[string]string{shown}"),
            detail,
        ));
    }
}
