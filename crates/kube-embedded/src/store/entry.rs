//! Objects as the store keeps them.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::object;

/// The key of an object in its table. Cluster-scoped objects have an empty namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace, or empty.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// Creates a key.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// One version of one object.
#[derive(Debug)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// Its uid.
    pub uid: Box<str>,
    /// The number of the write that created this version.
    pub revision: u64,
    /// The object as JSON.
    pub body: Bytes,
    /// Its labels.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// The selectable fields with their values.
    pub fields: Box<[(Box<str>, Box<str>)]>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Entry {
    /// Creates the version that the write of this number makes, with these selectable fields.
    pub(super) fn of(
        key: Key,
        revision: u64,
        object: &Value,
        fields: &[FieldPath],
    ) -> serde_json::Result<Self> {
        let labels = object::pairs(object.pointer("/metadata/labels"));
        let kept = fields
            .iter()
            .map(|field| (field.label.clone(), shown(object.pointer(&field.pointer)).into()));
        Ok(Self {
            uid: object::meta(object, "uid").into(),
            revision,
            labels: labels.map(|(key, value)| (key.into(), value.into())).collect(),
            fields: kept.collect(),
            deleting: object::is_deleting(object),
            body: serde_json::to_vec(object)?.into(),
            key,
        })
    }

    /// The object, parsed.
    #[must_use]
    pub fn object(&self) -> Value {
        // Bodies are written by this store only.
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// The selectable fields of a table, as paths into its objects.
pub type FieldPaths = Arc<[FieldPath]>;

/// A selectable field.
#[derive(Debug, Clone)]
pub struct FieldPath {
    /// The name in selectors.
    pub label: Box<str>,
    /// JSON pointer.
    pub pointer: Box<str>,
}

/// The value of a field as selectors compare it.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
