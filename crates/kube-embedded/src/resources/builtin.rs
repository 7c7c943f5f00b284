//! The built-in resources, out of `builtin/api.json`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::{Resource, Subresource};
use crate::object::{strings, text};
use crate::schema::{Schema, compile_builtin};
use crate::store::{FieldPath, FieldPaths};

/// Discovery and shapes, as a real server has them. Made by `examples/builtin_api.rs`.
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../builtin/api.json")).unwrap_or(Value::Null));

static SCHEMAS: LazyLock<BTreeMap<String, Schema>> = LazyLock::new(|| compile_builtin(&DOCUMENT["schemas"]));

/// `components.schemas` of the built-in kinds.
#[must_use]
pub fn documents() -> &'static Value {
    &DOCUMENT["schemas"]
}

/// A built-in shape by its name.
#[must_use]
pub fn schema(name: &str) -> Option<Schema> {
    SCHEMAS.get(name).cloned()
}

/// The shape of `metadata`.
#[must_use]
pub fn metadata_schema() -> Option<Schema> {
    schema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
}

/// Field selectors that built-in kinds have beside the name and the namespace.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    ("namespaces", &["status.phase", "name"]),
    ("nodes", &["spec.unschedulable"]),
    ("secrets", &["type"]),
    ("services", &["spec.clusterIP", "spec.type"]),
    ("replicasets.apps", &["status.replicas"]),
    ("replicationcontrollers", &["status.replicas"]),
    ("jobs.batch", &["status.successful"]),
];

/// Where a selectable field is, when not where its name says.
fn pointer(label: &str) -> String {
    match label {
        "name" => "/metadata/name".into(),
        "source" => "/source/component".into(),
        "status.successful" => "/status/succeeded".into(),
        label => format!("/{}", label.replace('.', "/")),
    }
}

fn fields(table: &str) -> FieldPaths {
    let labels = FIELDS
        .iter()
        .find(|(name, _)| *name == table)
        .map_or(&[][..], |(_, labels)| labels);
    labels
        .iter()
        .map(|label| FieldPath {
            label: (*label).into(),
            pointer: pointer(label).into(),
        })
        .collect()
}

pub(super) fn resources() -> Vec<Resource> {
    let mut resources: Vec<Resource> = Vec::new();
    for group in DOCUMENT["groups"].as_array().into_iter().flatten() {
        for entry in group["resources"].as_array().into_iter().flatten() {
            match text(entry, "/name").split_once('/') {
                None => resources.push(resource(text(group, "/group"), text(group, "/version"), entry)),
                Some((plural, name)) => {
                    let owner = resources
                        .iter_mut()
                        .rev()
                        .find(|resource| resource.plural == plural);
                    if let Some(owner) = owner {
                        owner.subresources.push(subresource(name, entry));
                    }
                }
            }
        }
    }
    resources
}

fn owned(value: Option<&Value>) -> Vec<String> {
    strings(value).into_iter().map(ToOwned::to_owned).collect()
}

fn resource(group: &str, version: &str, entry: &Value) -> Resource {
    let plural = text(entry, "/name");
    // Both groups of events show the same objects.
    let table = match group {
        "" | "events.k8s.io" => plural.to_owned(),
        group => format!("{plural}.{group}"),
    };
    let kind = text(entry, "/kind");
    let schema_name = text(entry, "/schema").to_owned();
    Resource {
        group: group.into(),
        version: version.into(),
        plural: plural.into(),
        singular: text(entry, "/singularName").into(),
        kind: kind.into(),
        list_kind: format!("{kind}List"),
        short_names: owned(entry.get("shortNames")),
        categories: owned(entry.get("categories")),
        namespaced: entry["namespaced"] == true,
        verbs: owned(entry.get("verbs")),
        subresources: Vec::new(),
        schema: schema(&schema_name),
        schema_name,
        document: Value::Null,
        fields: fields(&table),
        table: Arc::from(table),
        storage_version: version.into(),
        custom: false,
        columns: None,
        scale: None,
    }
}

fn subresource(name: &str, entry: &Value) -> Subresource {
    Subresource {
        name: name.into(),
        group: text(entry, "/group").into(),
        version: text(entry, "/version").into(),
        kind: text(entry, "/kind").into(),
        verbs: owned(entry.get("verbs")),
    }
}

/// The shape of a kind that only a subresource has, such as `Scale`.
#[must_use]
pub fn by_kind(group: &str, kind: &str) -> Option<Schema> {
    let groups = DOCUMENT["groups"].as_array().into_iter().flatten();
    let mut entries = groups.flat_map(|group| group["resources"].as_array().into_iter().flatten());
    let found = entries.find(|entry| text(entry, "/group") == group && text(entry, "/kind") == kind)?;
    schema(text(found, "/schema"))
}

/// The shape of a kind in a group, of a resource or of a subresource.
#[must_use]
pub fn kind_in(group: &str, kind: &str) -> Option<Schema> {
    let own = DOCUMENT["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| text(entry, "/group") == group);
    let mut entries = own.flat_map(|entry| entry["resources"].as_array().into_iter().flatten());
    let found = entries.find(|entry| text(entry, "/kind") == kind && text(entry, "/group").is_empty());
    found
        .and_then(|found| schema(text(found, "/schema")))
        .or_else(|| by_kind(group, kind))
}
