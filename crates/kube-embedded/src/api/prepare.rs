//! Prepares decoded objects for storage.

use serde_json::{Map, Value, json};

use super::{Call, checks, events, kinds, pods};
use crate::object;
use crate::resources::Resource;
use crate::resources::names;
use crate::schema;
use crate::status::{Cause, Status};

/// Metadata that only the server writes.
const SERVERS_OWN: &[&str] = &[
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
];

/// Metadata that identifies an object and its version.
const IDENTITY: &[&str] = &["name", "namespace", "resourceVersion"];

/// Sets the metadata of a new object, and removes metadata that clients may not set.
pub(super) fn new_object(call: &Call, object: &mut Value) -> Result<(), Status> {
    let resource = &call.resource;
    let namespaced = resource.namespaced;
    let metadata = object::metadata_mut(object);
    for key in SERVERS_OWN {
        metadata.remove(*key);
    }
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), object::now().into());
    if namespaced {
        metadata.insert("namespace".into(), call.namespace.clone().into());
    } else {
        metadata.remove("namespace");
    }
    if resource.custom || kinds::has_generation(resource) {
        metadata.insert("generation".into(), 1.into());
    }
    if resource.has_status()
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    Ok(())
}

/// All checks of a new object.
pub(super) fn check_new(call: &Call, object: &Value) -> Result<(), Status> {
    let mut causes = names::check_metadata(
        object,
        names::rule_of(&call.resource.group, &call.resource.plural),
    );
    causes.extend(checks(call, object, None));
    failed(call, object, causes)
}

fn checks(call: &Call, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let resource = &call.resource;
    let Some(shape) = &resource.schema else {
        return Vec::new();
    };
    if !resource.custom {
        return checks::check(call, shape, object, old);
    }
    let mut causes = schema::validate(shape, object, "");
    causes.extend(
        resource
            .scale
            .iter()
            .flat_map(|paths| checks::scale::check(paths, object)),
    );
    causes.extend(schema::embedded::check(shape, object, ""));
    const BLOCKING: &[&str] = &[
        "FieldValueTypeInvalid",
        "FieldValueRequired",
        "FieldValueNotSupported",
        "FieldValueTooLong",
        "FieldValueTooMany",
    ];
    if !causes.iter().any(|cause| BLOCKING.contains(&cause.reason)) {
        causes.extend(schema::rules::check(shape, object, old, ""));
    } else if has_rules(resource) {
        let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        causes.push(Cause::invalid("<nil>", "\"null\"", detail));
    }
    causes
}

fn has_rules(resource: &Resource) -> bool {
    fn inside(document: &Value) -> bool {
        match document {
            Value::Object(map) => map.contains_key("x-kubernetes-validations") || map.values().any(inside),
            Value::Array(list) => list.iter().any(inside),
            _ => false,
        }
    }
    inside(&resource.document)
}

fn failed(call: &Call, object: &Value, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() {
        return Ok(());
    }
    let resource = &call.resource;
    Err(Status::invalid(
        &resource.group,
        &resource.kind,
        object::meta(object, "name"),
        causes,
    ))
}

/// Restores what a write cannot change from the current object.
pub(super) fn replacement(call: &Call, current: &Value, object: &mut Value) {
    let resource = &call.resource;
    if call.subresource == "status" {
        replace_status(resource, current, object);
        return;
    }
    if call.subresource == "ephemeralcontainers" {
        pods::replace_ephemeral(current, object);
    }
    if let Some(map) = object.as_object_mut() {
        if resource.has_status() && call.subresource != "binding" {
            map.remove("status");
            map.extend(
                current
                    .get("status")
                    .map(|status| ("status".to_owned(), status.clone())),
            );
        }
        map.insert("apiVersion".into(), resource.api_version().into());
        map.insert("kind".into(), resource.kind.clone().into());
    }
    keep_metadata(current, object, SERVERS_OWN.iter().chain(IDENTITY));
    if call.subresource != "binding"
        && counts_as_change(resource, current, object)
        && let Some(generation) = current.pointer("/metadata/generation").and_then(Value::as_i64)
    {
        object::metadata_mut(object).insert("generation".into(), (generation + 1).into());
    }
}

/// Restores keys of the metadata.
fn keep_metadata<'a>(current: &Value, object: &mut Value, keys: impl Iterator<Item = &'a &'a str>) {
    let metadata = object::metadata_mut(object);
    for key in keys {
        match current["metadata"].get(*key) {
            Some(value) => metadata.insert((*key).to_owned(), value.clone()),
            None => metadata.remove(*key),
        };
    }
}

/// Restores all but the status. The metadata of built-in kinds can be written with it, except for parts of some kinds.
fn replace_status(resource: &Resource, current: &Value, object: &mut Value) {
    let mut written = std::mem::take(object);
    *object = current.clone();
    let own: &[&str] = match &*resource.table {
        "deployments.apps" => &["labels"],
        "pods" => &["ownerReferences"],
        _ => &[],
    };
    if resource.custom {
        let managed = written.pointer("/metadata/managedFields").cloned();
        object::metadata_mut(object).extend(managed.map(|managed| ("managedFields".to_owned(), managed)));
    } else {
        keep_metadata(
            current,
            &mut written,
            SERVERS_OWN.iter().chain(IDENTITY).chain(own),
        );
        object["metadata"] = written["metadata"].take();
    }
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
        let status = written.as_object_mut().and_then(|map| map.remove("status"));
        map.extend(status.map(|status| ("status".to_owned(), status)));
    }
}

/// Whether the change increments the generation: not for metadata, and not for a separate status.
fn counts_as_change(resource: &Resource, current: &Value, object: &Value) -> bool {
    let parts = |value: &Value| -> Map<String, Value> {
        let map = value.as_object().cloned().unwrap_or_default();
        let status_counts = resource.custom && !resource.has_status();
        let ignored = |key: &str| {
            matches!(key, "metadata" | "apiVersion" | "kind") || (key == "status" && !status_counts)
        };
        map.into_iter().filter(|(key, _)| !ignored(key)).collect()
    };
    parts(current) != parts(object)
}

/// All checks of a changed object.
pub(super) fn check_replacement(call: &Call, current: &Value, object: &Value) -> Result<(), Status> {
    let mut causes = names::check_metadata(object, names::NameRule::PathSegment);
    if object::is_deleting(current) {
        let old = object::finalizers(current);
        let added: Vec<&str> = object::finalizers(object)
            .into_iter()
            .filter(|name| !old.contains(name))
            .collect();
        if !added.is_empty() {
            let shown = format!(
                "[]string{{{}}}",
                added
                    .iter()
                    .map(|name| names::quoted(name))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            causes.push(Cause::forbidden("metadata.finalizers", &format!("no new finalizers can be added if the object is being deleted, found new finalizers {shown}")));
        }
    }
    causes.extend(checks(call, object, Some(current)));
    failed(call, object, causes)
}

/// Converts the object to the version in which it is stored, and back: fields that only one of them has are dropped.
pub(super) fn through_storage(resource: &Resource, object: Value) -> Value {
    if resource.storage_schema.is_none() {
        return object;
    }
    let mut object = to_storage(resource, object);
    super::to_version(resource, &mut object);
    object
}

/// Converts the object to the version in which it is stored.
pub(super) fn to_storage(resource: &Resource, mut object: Value) -> Value {
    if let Some(schema) = &resource.storage_schema {
        schema::prune(schema, &mut object);
        schema::apply_defaults(schema, &mut object);
    }
    if resource.group == "events.k8s.io" {
        events::to_old(&mut object);
        object["apiVersion"] = json!("v1");
    } else if resource.version != resource.storage_version {
        object["apiVersion"] = json!(crate::resources::group_version(
            &resource.group,
            &resource.storage_version
        ));
    }
    object
}
