//! The shapes of objects: built-in ones from the OpenAPI document, custom ones from their definitions.
//!
//! A schema is a node in an arena, because the built-in ones refer to each other and to themselves.

mod compile;
mod decode;
mod defaults;
mod format;
mod prune;
pub mod rules;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

pub use compile::{compile_builtin, compile_definition};
pub use decode::{check_metadata, check_types};
pub use defaults::apply_defaults;
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

/// What may stand beside the properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Additional {
    /// Nothing: it is dropped.
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
    /// As one value.
    #[default]
    Atomic,
    /// Values that are their own keys.
    Set,
    /// Objects with keys.
    Map,
}

/// One shape.
#[derive(Debug, Default, Clone)]
pub struct Node {
    /// Name of a built-in type, such as `io.k8s.api.core.v1.Pod`; empty for others.
    pub name: String,
    /// Its JSON type; `None` where several are allowed.
    pub kind: Option<Type>,
    /// `format`.
    pub format: String,
    /// Whether null is a value of it.
    pub nullable: bool,
    /// A number or a text: a port, a quantity.
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
    /// Keys that must be there, in the order of the document.
    pub required: Vec<String>,
    /// Value when there is none.
    pub default: Option<Value>,
    /// What else must hold.
    pub checks: Option<Box<Checks>>,
    /// How a list is merged by apply.
    pub list_type: ListType,
    /// Keys of a list of objects.
    pub list_keys: Vec<String>,
    /// Whether apply takes an object as one value.
    pub atomic_map: bool,
    /// Key of a list for strategic merge patches, when they merge it.
    pub patch_key: Option<String>,
    /// `x-kubernetes-patch-strategy`.
    pub patch_strategy: String,
    /// `x-kubernetes-validations`.
    pub rules: Vec<rules::Rule>,
}

/// Checks of a value that few shapes have.
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

/// One shape with what it refers to.
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

/// The type of a value as failures call it.
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
