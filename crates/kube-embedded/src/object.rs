//! Access to the metadata of objects.

use serde_json::{Map, Value};

/// A JSON object.
pub type Object = Map<String, Value>;

/// A string in `metadata`; empty when it is absent.
#[must_use]
pub fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get("metadata")
        .and_then(|metadata| metadata.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// `metadata`, created when it is absent or not an object.
pub fn metadata_mut(object: &mut Value) -> &mut Object {
    child_mut(object, "metadata")
}

/// The object at a key, created when it is absent or not an object.
pub fn child_mut<'a>(object: &'a mut Value, key: &str) -> &'a mut Object {
    if !object.is_object() {
        *object = Value::Object(Object::new());
    }
    let map = as_map(object);
    let child = map.entry(key).or_insert_with(|| Value::Object(Object::new()));
    if !child.is_object() {
        *child = Value::Object(Object::new());
    }
    as_map(child)
}

fn as_map(value: &mut Value) -> &mut Object {
    match value {
        Value::Object(map) => map,
        _ => unreachable!("inserted above"),
    }
}

/// Removes empty labels, annotations, finalizers and owner references, as the real server does.
pub fn drop_empty_metadata(object: &mut Value) {
    let metadata = metadata_mut(object);
    for key in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let empty = |value: &Value| {
            value.as_object().is_some_and(Map::is_empty)
                || value.as_array().is_some_and(Vec::is_empty)
                || value.is_null()
        };
        if metadata.get(key).is_some_and(empty) {
            metadata.remove(key);
        }
    }
}

/// Whether the object is being deleted.
#[must_use]
pub fn is_deleting(object: &Value) -> bool {
    !meta(object, "deletionTimestamp").is_empty()
}

/// The names in `metadata.finalizers`.
#[must_use]
pub fn finalizers(object: &Value) -> Vec<&str> {
    strings(object.pointer("/metadata/finalizers"))
}

/// The strings in a list.
#[must_use]
pub fn strings(value: Option<&Value>) -> Vec<&str> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The string at a JSON pointer; empty when it is absent.
#[must_use]
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items of the list at a JSON pointer; none when it is absent.
pub fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten()
}

/// The items of the list at a JSON pointer, to be changed.
pub fn items_mut<'a>(value: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    let list = value.pointer_mut(pointer).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

/// Labels or annotations as pairs.
pub fn pairs(value: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// The current time in whole seconds, as the API writes times; rounded down, as no creation is in the future.
#[must_use]
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    let seconds = jiff::TimestampRound::new()
        .smallest(jiff::Unit::Second)
        .mode(jiff::RoundMode::Floor);
    now.round(seconds).unwrap_or(now).to_string()
}
