//! The OpenAPI v3 documents: sufficient for `kubectl apply`, `patch` and `explain`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::resources::{Resource, Served, builtin};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
/// Location of schemas in a document.
const SCHEMAS: &str = "#/components/schemas/";

/// The index for an empty path, otherwise the document of a group version.
#[must_use]
pub fn document(served: &Served, path: &str) -> Option<Value> {
    if path.is_empty() {
        return Some(index(served));
    }
    let (group, version) = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => (String::new(), (*version).to_owned()),
        ["apis", group, version] => ((*group).to_owned(), (*version).to_owned()),
        _ => return None,
    };
    let groups = served.groups();
    let (_, resources) = groups.get(&group)?.iter().find(|(name, _)| *name == version)?;
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for resource in resources {
        add_schema(resource, &mut schemas);
        add_paths(resource, &mut paths);
    }
    for name in ["DeleteOptions", "Status", "ObjectMeta"] {
        add_builtin(&format!("{META}.{name}"), &mut schemas);
    }
    Some(json!({
        "openapi": "3.0.0", "info": {"title": "kube-embedded", "version": "v1.33"},
        "paths": paths, "components": {"schemas": schemas},
    }))
}

/// The OpenAPI v2 document, in the binary form that kubectl requests when the v3 one has no such kind: an empty
/// document, as v3 is complete.
pub const V2: &[u8] = b"\x0a\x032.0\x12\x16\x0a\x0dkube-embedded\x12\x05v1.33\x42\x00";
/// Its content type.
pub const V2_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

fn index(served: &Served) -> Value {
    let mut paths = Map::new();
    for (group, versions) in served.groups() {
        for (version, _) in versions {
            let path = if group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{group}/{version}")
            };
            // Clients cache a document by its hash.
            let url = format!("/openapi/v3/{path}?hash={}", served.generation);
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

fn kind_of(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

fn add_schema(resource: &Resource, schemas: &mut Map<String, Value>) {
    if !resource.custom {
        add_builtin(&resource.schema_name, schemas);
        return;
    }
    let mut schema = resource.document.clone();
    schema["x-kubernetes-group-version-kind"] = json!([kind_of(resource)]);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert("apiVersion".into(), json!({"type": "string"}));
        properties.insert("kind".into(), json!({"type": "string"}));
        properties.insert(
            "metadata".into(),
            json!({"allOf": [{"$ref": format!("{SCHEMAS}{META}.ObjectMeta")}]}),
        );
    }
    schemas.insert(resource.schema_name.clone(), schema);
}

/// Adds a built-in shape and every shape that it refers to.
fn add_builtin(name: &str, schemas: &mut Map<String, Value>) {
    if schemas.contains_key(name) {
        return;
    }
    let Some(mut schema) = builtin::documents().get(name).cloned() else {
        return;
    };
    let mut references = BTreeSet::new();
    spell_out(&mut schema, true, &mut references);
    schemas.insert(name.to_owned(), schema);
    references.iter().for_each(|name| add_builtin(name, schemas));
}

/// Converts the short form, in which a reference may have sibling keys, to the form of the document.
fn spell_out(value: &mut Value, schema: bool, references: &mut BTreeSet<String>) {
    let Value::Object(map) = value else { return };
    for (key, inner) in map.iter_mut() {
        spell_out(inner, !schema || key != "properties", references);
    }
    if !schema {
        return;
    }
    if let Some(Value::String(name)) = map.remove("$ref") {
        let reference = json!({"$ref": format!("{SCHEMAS}{name}")});
        references.insert(name);
        if map.is_empty() {
            *value = reference;
        } else {
            map.insert("allOf".into(), json!([reference]));
        }
    }
}

fn add_paths(resource: &Resource, paths: &mut Map<String, Value>) {
    let base = if resource.group.is_empty() {
        "/api/v1".to_owned()
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    let scope = if resource.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("{base}{scope}/{}", resource.plural);
    let reference = json!({"schema": {"$ref": format!("{SCHEMAS}{}", resource.schema_name)}});
    let response = json!({"200": {"description": "OK", "content": {"application/json": reference}}});
    let body = json!({"content": {"application/json": reference}, "required": true});
    let kind = kind_of(resource);
    let parameters = |names: &[&str]| -> Value {
        names.iter().map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}})).collect()
    };
    let write = ["dryRun", "fieldManager", "fieldValidation"];
    if resource.allows("create") {
        paths.insert(
            collection.clone(),
            json!({"post": {
                "x-kubernetes-action": "post", "x-kubernetes-group-version-kind": kind,
                "parameters": parameters(&write), "requestBody": body, "responses": response,
            }}),
        );
    }
    if !resource.allows("patch") {
        return;
    }
    let mut media = vec![
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
    ];
    if !resource.custom {
        media.push("application/strategic-merge-patch+json");
    }
    let patches: Map<String, Value> = media
        .iter()
        .map(|media| ((*media).to_owned(), json!({"schema": {"type": "object"}})))
        .collect();
    paths.insert(format!("{collection}/{{name}}"), json!({
        "get": {"x-kubernetes-action": "get", "x-kubernetes-group-version-kind": kind, "responses": response},
        "put": {
            "x-kubernetes-action": "put", "x-kubernetes-group-version-kind": kind,
            "parameters": parameters(&write), "requestBody": body, "responses": response,
        },
        "patch": {
            "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": kind,
            "parameters": parameters(&["dryRun", "fieldManager", "fieldValidation", "force"]),
            "requestBody": {"content": patches, "required": true}, "responses": response,
        },
        "delete": {"x-kubernetes-action": "delete", "x-kubernetes-group-version-kind": kind, "responses": response},
    }));
}
