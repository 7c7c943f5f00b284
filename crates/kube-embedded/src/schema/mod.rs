//! Schemas: built-in ones from the OpenAPI document, custom ones from their definitions.
//!
//! A schema is a node in an arena, because the built-in ones refer to each other and to themselves.

mod compile;
mod decode;
mod defaults;
pub mod embedded;
mod format;
mod prune;
pub mod rules;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

pub use compile::{Complaint, compile_builtin, compile_definition};
pub use decode::{check_metadata, check_types};
pub use defaults::apply_defaults;
pub use format::is_go_duration;
pub use prune::{Unknown, prune};
pub use validate::validate;

/// Index of a node.
pub type NodeId = usize;

/// A JSON type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A map with fixed or free keys.
    Object,
    /// A list.
    Array,
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// true or false.
    Boolean,
}

impl Type {
    /// As OpenAPI spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [
            Self::Object,
            Self::Array,
            Self::String,
            Self::Integer,
            Self::Number,
            Self::Boolean,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
    }
}

/// Keys in addition to the properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Additional {
    /// None: unknown keys are dropped.
    #[default]
    None,
    /// Anything.
    Any,
    /// Values of this shape.
    Schema(NodeId),
}

/// How a list is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListType {
    /// As one atomic value.
    #[default]
    Atomic,
    /// A set: values are their own keys.
    Set,
    /// Objects with keys.
    Map,
}

/// One node.
#[derive(Debug, Default, Clone)]
pub struct Node {
    /// Name of a built-in type, such as `io.k8s.api.core.v1.Pod`; empty for others.
    pub name: String,
    /// Its JSON type; `None` where several are allowed.
    pub kind: Option<Type>,
    /// `format`.
    pub format: String,
    /// Whether null is allowed.
    pub nullable: bool,
    /// A number or a string: a port, a quantity.
    pub int_or_string: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
    /// Fixed keys.
    pub properties: BTreeMap<String, NodeId>,
    /// Other keys.
    pub additional: Additional,
    /// Shape of a list's items.
    pub items: Option<NodeId>,
    /// Required keys, in the order of the document.
    pub required: Vec<String>,
    /// Default value.
    pub default: Option<Value>,
    /// Further checks.
    pub checks: Option<Box<Checks>>,
    /// How apply merges a list.
    pub list_type: ListType,
    /// Keys of a list of objects.
    pub list_keys: Vec<String>,
    /// Whether apply treats an object as one value.
    pub atomic_map: bool,
    /// Merge key of a list for strategic merge patches, if they merge it.
    pub patch_key: Option<String>,
    /// `x-kubernetes-patch-strategy`.
    pub patch_strategy: String,
    /// `x-kubernetes-validations`.
    pub rules: Vec<rules::Rule>,
}

/// Checks that few nodes have.
#[derive(Debug, Default, Clone)]
pub struct Checks {
    one_of_values: Vec<Value>,
    pattern: Option<Regex>,
    minimum: Option<f64>,
    exclusive_minimum: bool,
    maximum: Option<f64>,
    exclusive_maximum: bool,
    multiple_of: Option<f64>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    min_properties: Option<u64>,
    max_properties: Option<u64>,
    all_of: Vec<NodeId>,
    any_of: Vec<NodeId>,
    one_of: Vec<NodeId>,
    not: Option<NodeId>,
}

/// All nodes of a document.
#[derive(Debug, Default)]
pub struct Arena {
    nodes: Vec<Node>,
}

/// One node with every node that it refers to.
#[derive(Debug, Clone)]
pub struct Schema {
    arena: Arc<Arena>,
    root: NodeId,
}

impl Schema {
    /// The node itself.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.arena.nodes[self.root]
    }

    /// Another node of the same document.
    #[must_use]
    pub fn at(&self, root: NodeId) -> Self {
        Self {
            arena: Arc::clone(&self.arena),
            root,
        }
    }

    /// The shape of a property, fixed or free.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<Self> {
        let node = self.node();
        match (node.properties.get(name), node.additional) {
            (Some(&id), _) | (None, Additional::Schema(id)) => Some(self.at(id)),
            _ => None,
        }
    }

    /// The shape of a list's items.
    #[must_use]
    pub fn items(&self) -> Option<Self> {
        self.node().items.map(|id| self.at(id))
    }
}

/// `a.b`, or `b` at the top.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The name of a value's type in error messages.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
