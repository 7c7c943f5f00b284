//! Converts a CustomResourceDefinition to the resources that it defines.

use std::sync::Arc;

use serde_json::{Value, json};

use super::names::{NameRule, quoted};
use super::{Column, Resource, ScalePaths, Subresource};
use crate::jsonpath::Path;
use crate::object::{self, items, strings, text};
use crate::schema::{Complaint, Schema, compile_definition};
use crate::status::{Cause, Status};
use crate::store::FieldPath;

/// Group of definitions.
pub const GROUP: &str = "apiextensions.k8s.io";
/// Table of definitions.
pub const TABLE: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// The finalizer of a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

const VERBS: &[&str] = &[
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// Sets the defaults.
pub fn complete(definition: &mut Value) {
    let kind = text(definition, "/spec/names/kind").to_owned();
    let names = match definition.pointer_mut("/spec/names") {
        Some(Value::Object(names)) => names,
        _ => return,
    };
    for (key, value) in [
        ("singular", kind.to_lowercase()),
        ("listKind", format!("{kind}List")),
    ] {
        if names
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .is_empty()
        {
            names.insert(key.into(), value.into());
        }
    }
    if let Some(Value::Object(spec)) = definition.get_mut("spec") {
        spec.entry("conversion")
            .or_insert_with(|| json!({"strategy": "None"}));
    }
}

/// The status that the real server's controllers give a definition whose names are free.
#[must_use]
pub fn established(definition: &Value, old: &Value, now: &str) -> Value {
    let storage = items(definition, "/spec/versions")
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone());
    let mut stored = old
        .get("storedVersions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for name in storage {
        if !stored.contains(&name) {
            stored.push(name);
        }
    }
    let conditions = old
        .get("conditions")
        .filter(|conditions| conditions.is_array())
        .cloned();
    let conditions = conditions.unwrap_or_else(|| json!([
        {"type": "NamesAccepted", "status": "True", "lastTransitionTime": now, "reason": "NoConflicts", "message": "no conflicts found"},
        {"type": "Established", "status": "True", "lastTransitionTime": now, "reason": "InitialNamesAccepted", "message": "the initial names have been accepted"},
    ]));
    json!({"conditions": conditions, "acceptedNames": definition.pointer("/spec/names"), "storedVersions": stored})
}

/// The resources of a definition, one per served version.
///
/// # Errors
/// 422 with all errors; 501 if the real server accepts what this one does not implement.
pub fn resources(definition: &Value) -> Result<Vec<Resource>, Status> {
    let name = object::meta(definition, "name");
    let mut reader = Reader {
        definition,
        causes: Vec::new(),
        unsupported: Vec::new(),
    };
    let resources = reader.read();
    if !reader.causes.is_empty() {
        return Err(Status::invalid(
            GROUP,
            "CustomResourceDefinition",
            name,
            reader.causes,
        ));
    }
    if !reader.unsupported.is_empty() {
        return Err(Status::not_implemented(format!(
            "CustomResourceDefinition {name}: {}",
            reader.unsupported.join("; ")
        )));
    }
    Ok(resources)
}

struct Reader<'a> {
    definition: &'a Value,
    causes: Vec<Cause>,
    unsupported: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self) -> Vec<Resource> {
        self.check_names();
        if text(self.definition, "/spec/conversion/strategy") == "Webhook" {
            self.unsupported.push("conversion by webhook".into());
        }
        let versions = self
            .definition
            .pointer("/spec/versions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let storage: Vec<&Value> = versions
            .iter()
            .filter(|version| version["storage"] == true)
            .collect();
        if storage.len() != 1 {
            let detail = "must have exactly one version marked as storage version";
            self.causes.push(Cause::invalid("spec.versions", "null", detail));
        }
        let storage = storage
            .first()
            .map(|version| text(version, "/name").to_owned())
            .unwrap_or_default();
        let all = versions.iter().enumerate();
        let resources: Vec<Resource> = all
            .filter_map(|(index, version)| self.version(version, index, &storage))
            .collect();
        let is_storage = |resource: &&Resource| resource.version == storage;
        let schema = resources
            .iter()
            .find(is_storage)
            .and_then(|resource| resource.schema.clone());
        let is_served = |name: &str| {
            let version = versions.iter().find(|version| text(version, "/name") == name);
            version.is_some_and(|version| version["served"] == true)
        };
        resources
            .into_iter()
            .filter(|resource| is_served(&resource.version))
            .map(|resource| Resource {
                storage_schema: schema.clone().filter(|_| resource.version != storage),
                ..resource
            })
            .collect()
    }

    /// Checks what all versions share: names and scope.
    fn check_names(&mut self) {
        let definition = self.definition;
        let at = |pointer: &str| text(definition, pointer);
        let (group, plural) = (at("/spec/group"), at("/spec/names/plural"));
        let name = object::meta(definition, "name");
        if name != format!("{plural}.{group}") {
            let detail = "must be spec.names.plural+\".\"+spec.group";
            self.causes
                .push(Cause::invalid("metadata.name", &quoted(name), detail));
        }
        for (pointer, field) in [
            ("/spec/group", "spec.group"),
            ("/spec/names/plural", "spec.names.plural"),
            ("/spec/names/kind", "spec.names.kind"),
        ] {
            if at(pointer).is_empty() {
                self.causes.push(Cause::required(field, ""));
            }
        }
        for (pointer, field) in [
            ("/spec/names/plural", "spec.names.plural"),
            ("/spec/names/singular", "spec.names.singular"),
        ] {
            for complaint in NameRule::Dns1035
                .complaints(at(pointer))
                .into_iter()
                .filter(|_| !at(pointer).is_empty())
            {
                self.causes
                    .push(Cause::invalid(field, &quoted(at(pointer)), &complaint));
            }
        }
        if !matches!(at("/spec/scope"), "Namespaced" | "Cluster") {
            let supported = [quoted("Cluster"), quoted("Namespaced")];
            self.causes.push(Cause::not_supported(
                "spec.scope",
                &quoted(at("/spec/scope")),
                &supported,
            ));
        }
    }

    /// One version; `None` if it has no schema.
    fn version(&mut self, version: &Value, index: usize, storage: &str) -> Option<Resource> {
        let definition = self.definition;
        let at = |pointer: &str| text(definition, pointer);
        let list = |pointer: &str| -> Vec<String> {
            strings(definition.pointer(pointer))
                .into_iter()
                .map(ToOwned::to_owned)
                .collect()
        };
        // With one version the real server's message has the form from before definitions had versions.
        let alone = definition
            .pointer("/spec/versions")
            .and_then(Value::as_array)
            .is_some_and(|all| all.len() == 1);
        let (parent, schema_path) = match alone {
            true => ("spec".to_owned(), "spec.validation.openAPIV3Schema".to_owned()),
            false => (
                format!("spec.versions[{index}]"),
                format!("spec.versions[{index}].schema.openAPIV3Schema"),
            ),
        };
        let Some(document) = version.pointer("/schema/openAPIV3Schema") else {
            self.causes.push(Cause::required(
                format!("{parent}.schema.openAPIV3Schema"),
                "schemas are required",
            ));
            return None;
        };
        let schema = self.schema(document, &schema_path);
        let fields = self.fields(version, &parent);
        let columns = self.columns(version, &parent);
        let (group, plural, name) = (
            at("/spec/group"),
            at("/spec/names/plural"),
            text(version, "/name"),
        );
        let kind = at("/spec/names/kind");
        let reversed: Vec<&str> = group.split('.').rev().collect();
        Some(Resource {
            group: group.into(),
            version: name.into(),
            plural: plural.into(),
            singular: at("/spec/names/singular").into(),
            kind: kind.into(),
            list_kind: at("/spec/names/listKind").into(),
            short_names: list("/spec/names/shortNames"),
            categories: list("/spec/names/categories"),
            namespaced: at("/spec/scope") == "Namespaced",
            verbs: VERBS.iter().map(|verb| (*verb).to_owned()).collect(),
            subresources: subresources(version, kind),
            schema,
            schema_name: format!("{}.{name}.{kind}", reversed.join(".")),
            document: document.clone(),
            table: Arc::from(format!("{plural}.{group}")),
            storage_version: storage.into(),
            storage_schema: None,
            custom: true,
            fields: fields.into(),
            columns: Some(columns),
            scale: version.pointer("/subresources/scale").map(|scale| ScalePaths {
                spec: text(scale, "/specReplicasPath").into(),
                status: text(scale, "/statusReplicasPath").into(),
                selector: text(scale, "/labelSelectorPath").into(),
            }),
        })
    }

    /// A version's schema; `None` if it has errors, which are recorded.
    fn schema(&mut self, document: &Value, path: &str) -> Option<Schema> {
        match compile_definition(document, path) {
            Ok(schema) => Some(schema),
            Err(complaints) => {
                for complaint in complaints {
                    match complaint {
                        Complaint::Invalid(cause) => self.causes.push(cause),
                        Complaint::Unsupported { field, what } => {
                            self.unsupported.push(format!("{field}: {what}"));
                        }
                    }
                }
                None
            }
        }
    }

    fn fields(&mut self, version: &Value, parent: &str) -> Vec<FieldPath> {
        let mut fields = Vec::new();
        for (index, field) in items(version, "/selectableFields").enumerate() {
            let path = text(field, "/jsonPath");
            match Path::parse(path).ok().and_then(|parsed| parsed.pointer()) {
                Some(pointer) if !path.is_empty() => {
                    let label = path.trim_start_matches('.').into();
                    fields.push(FieldPath {
                        label,
                        pointer: pointer.into(),
                        absent: "",
                    });
                }
                _ => {
                    let field = format!("{parent}.selectableFields[{index}].jsonPath");
                    self.causes.push(Cause::invalid(
                        field,
                        &quoted(path),
                        "is an invalid path: must be a simple path of fields",
                    ));
                }
            }
        }
        fields
    }

    fn columns(&mut self, version: &Value, parent: &str) -> Vec<Column> {
        let list = version.get("additionalPrinterColumns").and_then(Value::as_array);
        let Some(list) = list.filter(|list| !list.is_empty()) else {
            return vec![Column {
                name: "Age".into(),
                kind: "date".into(),
                format: String::new(),
                description: "When it was created.".into(),
                priority: 0,
                path: Path::parse(".metadata.creationTimestamp").unwrap_or_default(),
            }];
        };
        let mut columns = Vec::new();
        for (index, column) in list.iter().enumerate() {
            let path = text(column, "/jsonPath");
            let parsed = Path::parse(path).unwrap_or_else(|what| {
                let field = format!("{parent}.additionalPrinterColumns[{index}].jsonPath");
                self.causes.push(Cause::invalid(field, &quoted(path), &what));
                Path::default()
            });
            let described = text(column, "/description");
            columns.push(Column {
                name: text(column, "/name").into(),
                kind: text(column, "/type").into(),
                format: text(column, "/format").into(),
                description: if described.is_empty() {
                    format!("Custom resource definition column (in JSONPath format): {path}")
                } else {
                    described.into()
                },
                priority: column.get("priority").and_then(Value::as_i64).unwrap_or_default(),
                path: parsed,
            });
        }
        columns
    }
}

fn subresources(version: &Value, kind: &str) -> Vec<Subresource> {
    let verbs = || ["get", "patch", "update"].map(ToOwned::to_owned).to_vec();
    let mut subresources = Vec::new();
    if version.pointer("/subresources/status").is_some() {
        subresources.push(Subresource {
            name: "status".into(),
            group: String::new(),
            version: String::new(),
            kind: kind.into(),
            verbs: verbs(),
        });
    }
    if version.pointer("/subresources/scale").is_some() {
        subresources.push(Subresource {
            name: "scale".into(),
            group: "autoscaling".into(),
            version: "v1".into(),
            kind: "Scale".into(),
            verbs: verbs(),
        });
    }
    subresources
}
