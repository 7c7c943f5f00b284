//! Compiles JSON Schema documents to nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::{Additional, Arena, Checks, ListType, Node, NodeId, Schema, Type, join, rules};
use crate::object::{items, strings};
use crate::resources::names::quoted;
use crate::status::Cause;

/// The built-in shapes by name, from `components.schemas` without descriptions.
#[must_use]
pub fn compile_builtin(schemas: &Value) -> BTreeMap<String, Schema> {
    let mut compiler = Compiler {
        builtin: true,
        ..Compiler::default()
    };
    let all = schemas.as_object();
    for name in all.into_iter().flatten().map(|(name, _)| name) {
        let id = compiler.empty();
        compiler.named.insert(name.clone(), id);
    }
    for (name, schema) in all.into_iter().flatten() {
        let node = Node {
            name: name.clone(),
            ..compiler.node(schema, "")
        };
        let id = compiler.named[name];
        compiler.arena.nodes[id] = node;
    }
    for (id, target, schema) in std::mem::take(&mut compiler.copies) {
        compiler.copy(id, target, &schema);
    }
    let arena = Arc::new(compiler.arena);
    compiler
        .named
        .into_iter()
        .map(|(name, root)| {
            (
                name,
                Schema {
                    arena: Arc::clone(&arena),
                    root,
                },
            )
        })
        .collect()
}

/// Compiles the schema of a custom resource, which is at a path of its definition.
///
/// # Errors
/// All errors of the schema, as path and message, and what this server does not implement.
pub fn compile_definition(schema: &Value, path: &str) -> Result<Schema, Vec<Complaint>> {
    let mut compiler = Compiler {
        root: path.to_owned(),
        ..Compiler::default()
    };
    let root = compiler.add(schema, path);
    if compiler.complaints.is_empty() {
        return Ok(Schema {
            arena: Arc::new(compiler.arena),
            root,
        });
    }
    Err(compiler.complaints)
}

/// A problem of a definition's schema.
#[derive(Debug, Clone)]
pub enum Complaint {
    /// An error.
    Invalid(Cause),
    /// What only the real server implements.
    Unsupported {
        /// Path.
        field: String,
        /// The message.
        what: String,
    },
}

impl From<Cause> for Complaint {
    fn from(cause: Cause) -> Self {
        Self::Invalid(cause)
    }
}

#[derive(Default)]
struct Compiler {
    arena: Arena,
    named: BTreeMap<String, NodeId>,
    copies: Vec<(NodeId, NodeId, Value)>,
    complaints: Vec<Complaint>,
    builtin: bool,
    /// Path of the schema.
    root: String,
    /// Path of the list whose items have no counterpart before a write, while the compiler is below it.
    uncorrelatable: Option<String>,
}

impl Compiler {
    fn empty(&mut self) -> NodeId {
        self.arena.nodes.push(Node::default());
        self.arena.nodes.len() - 1
    }

    fn add(&mut self, schema: &Value, path: &str) -> NodeId {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            return self.reference(schema, reference, path);
        }
        let id = self.empty();
        let node = self.node(schema, path);
        self.arena.nodes[id] = node;
        id
    }

    /// A reference may have its own default and patch strategy: then it becomes a copy with these.
    fn reference(&mut self, schema: &Value, reference: &str, path: &str) -> NodeId {
        let Some(&target) = self.named.get(reference) else {
            self.complain(path, reference, "no such schema");
            return self.empty();
        };
        let own = ["default", "x-kubernetes-patch-strategy", "x-kubernetes-map-type"];
        if own.iter().all(|key| schema.get(key).is_none()) {
            return target;
        }
        let id = self.empty();
        self.copies.push((id, target, schema.clone()));
        id
    }

    fn copy(&mut self, id: NodeId, target: NodeId, schema: &Value) {
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        let mut node = self.arena.nodes[target].clone();
        node.default = schema.get("default").cloned().or(node.default);
        node.patch_strategy = text("x-kubernetes-patch-strategy").map_or(node.patch_strategy, Into::into);
        node.atomic_map |= text("x-kubernetes-map-type") == Some("atomic");
        self.arena.nodes[id] = node;
    }

    fn complain(&mut self, path: &str, value: &str, what: &str) {
        self.complaints
            .push(Cause::invalid(path, &quoted(value), what).into());
    }

    fn node(&mut self, schema: &Value, path: &str) -> Node {
        let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or_default();
        let format = text("format").to_owned();
        let mut node = Node {
            kind: Type::parse(text("type")),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string")
                || (self.builtin && schema.get("oneOf").is_some()),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            required: strings(schema.get("required"))
                .into_iter()
                .map(ToOwned::to_owned)
                .collect(),
            default: schema.get("default").cloned(),
            list_keys: strings(schema.get("x-kubernetes-list-map-keys"))
                .into_iter()
                .map(ToOwned::to_owned)
                .collect(),
            list_type: match text("x-kubernetes-list-type") {
                "set" => ListType::Set,
                "map" => ListType::Map,
                _ => ListType::Atomic,
            },
            atomic_map: text("x-kubernetes-map-type") == "atomic",
            patch_key: Some(text("x-kubernetes-patch-merge-key"))
                .filter(|key| !key.is_empty())
                .map(Into::into),
            patch_strategy: text("x-kubernetes-patch-strategy").to_owned(),
            format,
            ..Node::default()
        };
        self.children(schema, path, &mut node);
        if self.builtin {
            // A built-in type without a type accepts any value: RawExtension, FieldsV1, JSON.
            let says_nothing = matches!(node.kind, None | Some(Type::Object)) && node.properties.is_empty();
            node.preserve_unknown |=
                says_nothing && node.additional == Additional::None && !node.int_or_string;
        } else {
            node.checks = self.checks(schema, path).map(Box::new);
            node.rules = self.rules(schema, path);
            self.structural(schema, path, &node);
        }
        node
    }

    fn children(&mut self, schema: &Value, path: &str, node: &mut Node) {
        for (name, property) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let id = self.add(property, &format!("{}[{name}]", join(path, "properties")));
            node.properties.insert(name.clone(), id);
        }
        node.additional = match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Any,
            Some(schema @ Value::Object(_)) => {
                Additional::Schema(self.add(schema, &join(path, "additionalProperties")))
            }
            _ => Additional::None,
        };
        let outer = self.uncorrelatable.clone();
        if node.list_type != ListType::Map && node.kind == Some(Type::Array) {
            self.uncorrelatable.get_or_insert_with(|| path.to_owned());
        }
        node.items = schema
            .get("items")
            .map(|items| self.add(items, &join(path, "items")));
        self.uncorrelatable = outer;
    }

    fn checks(&mut self, schema: &Value, path: &str) -> Option<Checks> {
        let number = |key: &str| schema.get(key).and_then(Value::as_f64);
        let count = |key: &str| schema.get(key).and_then(Value::as_u64);
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or_default();
        const KEYS: &[&str] = &[
            "enum",
            "pattern",
            "minimum",
            "maximum",
            "multipleOf",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "uniqueItems",
            "minProperties",
            "maxProperties",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
        ];
        if KEYS.iter().all(|key| schema.get(key).is_none()) {
            return None;
        }
        let pattern =
            schema
                .get("pattern")
                .and_then(Value::as_str)
                .and_then(|pattern| match Regex::new(pattern) {
                    Ok(regex) => Some(regex),
                    Err(error) => {
                        self.complain(
                            &join(path, "pattern"),
                            pattern,
                            &format!("must be a valid regular expression, but isn't: {error}"),
                        );
                        None
                    }
                });
        Some(Checks {
            one_of_values: schema
                .get("enum")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
            pattern,
            minimum: number("minimum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            maximum: number("maximum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            all_of: self.alternatives(schema, "allOf", path),
            any_of: self.alternatives(schema, "anyOf", path),
            one_of: self.alternatives(schema, "oneOf", path),
            not: schema
                .get("not")
                .map(|not| self.alternative(not, &join(path, "not"))),
        })
    }

    fn alternatives(&mut self, schema: &Value, key: &str, path: &str) -> Vec<NodeId> {
        let list = schema
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate();
        list.map(|(index, inner)| self.alternative(inner, &format!("{}[{index}]", join(path, key))))
            .collect()
    }

    /// Compiles a schema inside of allOf and the like, which contains only checks.
    fn alternative(&mut self, schema: &Value, path: &str) -> NodeId {
        if schema.get("x-kubernetes-validations").is_some() {
            let field = join(path, "x-kubernetes-validations");
            self.complaints
                .push(Cause::forbidden(field, "must be empty to be structural").into());
        }
        let id = self.empty();
        let mut node = Node {
            kind: schema.get("type").and_then(Value::as_str).and_then(Type::parse),
            required: strings(schema.get("required"))
                .into_iter()
                .map(ToOwned::to_owned)
                .collect(),
            ..Node::default()
        };
        for (name, property) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let inner = self.alternative(property, &format!("{}[{name}]", join(path, "properties")));
            node.properties.insert(name.clone(), inner);
        }
        node.items = schema
            .get("items")
            .map(|items| self.alternative(items, &join(path, "items")));
        node.checks = self.checks(schema, path).map(Box::new);
        self.arena.nodes[id] = node;
        id
    }

    fn rules(&mut self, schema: &Value, path: &str) -> Vec<rules::Rule> {
        let mut compiled = Vec::new();
        for (index, rule) in items(schema, "/x-kubernetes-validations").enumerate() {
            let place = rules::Place {
                schema,
                path: &format!("{}[{index}]", join(path, "x-kubernetes-validations")),
                is_resource: path == self.root,
                uncorrelatable: self.uncorrelatable.as_deref(),
            };
            match rules::Rule::parse(rule, place) {
                Ok(rule) => compiled.push(rule),
                Err(complaints) => self.complaints.extend(complaints),
            }
        }
        compiled
    }

    /// Checks that the schema is structural, as far as implemented: every node has a type.
    fn structural(&mut self, schema: &Value, path: &str, node: &Node) {
        if node.kind.is_none() && !node.int_or_string && !node.preserve_unknown {
            let what = match path {
                path if path == self.root => "must not be empty at the root",
                path if path.ends_with(".items") => "must not be empty for specified array items",
                _ => "must not be empty for specified object fields",
            };
            self.complaints
                .push(Cause::required(join(path, "type"), what).into());
        }
        if !node.properties.is_empty() && node.additional != Additional::None {
            let what = "additionalProperties and properties are mutual exclusive";
            self.complaints
                .push(Cause::forbidden(join(path, "additionalProperties"), what).into());
        }
        if node.kind == Some(Type::Array) && node.items.is_none() {
            self.complaints
                .push(Cause::required(join(path, "items"), "must be specified").into());
        }
        if node.embedded && node.properties.is_empty() && !node.preserve_unknown {
            let what = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            self.complaints
                .push(Cause::required(join(path, "properties"), what).into());
        }
        if schema.get("uniqueItems").and_then(Value::as_bool) == Some(true) {
            let what = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.complaints
                .push(Cause::forbidden(join(path, "uniqueItems"), what).into());
        }
    }
}
