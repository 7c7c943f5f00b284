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
    /// The object as JSON, which begins with its kind and apiVersion.
    pub body: Bytes,
    /// Where the rest of the body begins.
    rest: usize,
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
            .map(|field| (field.label.clone(), field.shown(object).into()));
        let (body, rest) = write(object)?;
        Ok(Self {
            uid: object::meta(object, "uid").into(),
            revision,
            labels: labels.map(|(key, value)| (key.into(), value.into())).collect(),
            fields: kept.collect(),
            deleting: object::is_deleting(object),
            body: body.into(),
            rest,
            key,
        })
    }

    /// The members of the object without its kind and apiVersion, followed by `}`.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.body[self.rest..]
    }

    /// The object, parsed.
    #[must_use]
    pub fn object(&self) -> Value {
        // Bodies are written by this store only.
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// Writes an object; returns also where the members after kind and apiVersion begin.
fn write(object: &Value) -> serde_json::Result<(Vec<u8>, usize)> {
    let mut body = vec![b'{'];
    let is_head = |key: &str| matches!(key, "kind" | "apiVersion");
    let members: Vec<_> = object.as_object().into_iter().flatten().collect();
    let head = members.iter().rev().filter(|(key, _)| is_head(key));
    let mut member = |(key, value): &(&String, &Value)| -> serde_json::Result<usize> {
        if body.len() > 1 {
            body.push(b',');
        }
        serde_json::to_writer(&mut body, key)?;
        body.push(b':');
        serde_json::to_writer(&mut body, value)?;
        Ok(body.len())
    };
    let mut end = 0;
    for pair in head {
        end = member(pair)?;
    }
    for pair in members.iter().filter(|(key, _)| !is_head(key)) {
        member(pair)?;
    }
    body.push(b'}');
    // After the comma, if there is a head.
    Ok((body, end + 1))
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
    /// The value of an absent field: the zero of its Go type.
    pub absent: &'static str,
}

impl FieldPath {
    /// The value of the field as selectors compare it.
    fn shown(&self, object: &Value) -> String {
        match object.pointer(&self.pointer) {
            None | Some(Value::Null) => self.absent.to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}
