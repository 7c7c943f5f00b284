//! Objects as the store keeps them.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::object;

/// Where an object lies in its table. Cluster-scoped objects have an empty namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace, or empty.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// Of these two.
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
    /// Where it lies.
    pub key: Key,
    /// Its uid.
    pub uid: Box<str>,
    /// The write that made this version.
    pub revision: u64,
    /// The object as JSON.
    pub body: Bytes,
    /// Its labels.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// The values that field selectors may ask for, by field.
    pub fields: Box<[(Box<str>, Box<str>)]>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Entry {
    /// The version of an object that the write of that number makes, with these fields kept beside it.
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
        // Bodies are written by this store alone.
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// A selection of fields to keep beside each object of a table, as paths into it.
pub type FieldPaths = Arc<[FieldPath]>;

/// One field to keep.
#[derive(Debug, Clone)]
pub struct FieldPath {
    /// As selectors call it.
    pub label: Box<str>,
    /// JSON pointer.
    pub pointer: Box<str>,
}

/// A field's value as selectors compare it.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
