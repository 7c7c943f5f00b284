//! Type errors that the real server finds while it decodes an object: 400, before any validation.

use serde_json::{Number, Value, json};

use super::{Additional, Schema, Type, format, join};
use crate::quantity;
use crate::status::Status;

/// Checks the types of a built-in object and gives it the form that it has in Go: a null is absent, or the zero of a
/// map's or list's values, and quantities are canonical.
///
/// # Errors
/// The first value of a wrong type.
pub fn check_types(schema: &Schema, value: &mut Value, kind: &str, version: &str) -> Result<(), Status> {
    let wrong = walk(schema, value, "", kind, quantity::NANO);
    wrong.map_err(|what| {
        Status::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {what}"
        ))
    })
}

/// Name of the type of quantities.
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// Checks the types of `metadata` in a custom object.
///
/// # Errors
/// The first value of a wrong type.
pub fn check_metadata(schema: &Schema, object: &mut Value, kind: &str, version: &str) -> Result<(), Status> {
    let Some(metadata) = object.get_mut("metadata") else {
        return Ok(());
    };
    check_types(schema, metadata, kind, version).map_err(|status| Status {
        message: status
            .message
            .replace("struct field .", "struct field ObjectMeta."),
        ..status
    })
}

/// `smallest` is the decimal exponent to which a quantity is rounded.
fn walk(schema: &Schema, value: &mut Value, path: &str, owner: &str, smallest: i32) -> Result<(), String> {
    let node = schema.node();
    if node.name == QUANTITY && !value.is_null() {
        let text = match &*value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        *value = quantity::canonical(&text, smallest)?.into();
        return Ok(());
    }
    if node.int_or_string && (value.is_string() || value.is_number()) {
        return Ok(());
    }
    let wrong = |found: &str| Err(mismatch(schema, found, path, owner));
    match (node.kind, &mut *value) {
        (None, _) | (Some(Type::Boolean), Value::Bool(_)) | (_, Value::Null) => Ok(()),
        (Some(Type::Object), Value::Object(map)) => {
            map.retain(|key, inner| !inner.is_null() || !node.properties.contains_key(key));
            let owner = short(&node.name).map_or(owner, |(_, name)| name);
            for (key, inner) in map.iter_mut() {
                let Some(property) = schema.property(key) else {
                    continue;
                };
                // Go's messages use the map's path for its values. A map of quantities is a list of resources.
                let (below, smallest) = match node.properties.contains_key(key) {
                    true => (join(path, key), quantity::NANO),
                    false => (path.to_owned(), quantity::MILLI),
                };
                set_zero(&property, inner);
                walk(&property, inner, &below, owner, smallest)?;
            }
            Ok(())
        }
        (Some(Type::Array), Value::Array(list)) => match schema.items() {
            Some(items) => list.iter_mut().try_for_each(|inner| {
                set_zero(&items, inner);
                walk(&items, inner, path, owner, smallest)
            }),
            None => Ok(()),
        },
        (Some(Type::String), Value::String(text)) => match node.format.as_str() {
            "date-time" if !format::is_date_time(text) => Err(format!(
                "parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{text}\" as \"2006\""
            )),
            "byte" if !format::matches("byte", text) => Err("illegal base64 data at input byte 0".to_owned()),
            _ => Ok(()),
        },
        (Some(Type::Integer), Value::Number(number)) if is_in_range(node.format.as_str(), number) => Ok(()),
        (Some(Type::Number), Value::Number(_)) => Ok(()),
        (_, Value::Number(number)) if node.kind == Some(Type::Integer) => wrong(&format!("number {number}")),
        (_, Value::Bool(_)) => wrong("bool"),
        (_, Value::Number(_)) => wrong("number"),
        (_, Value::String(_)) => wrong("string"),
        (_, Value::Array(_)) => wrong("array"),
        (_, Value::Object(_)) => wrong("object"),
    }
}

/// Replaces a null in a map or list by the zero of its type.
fn set_zero(schema: &Schema, value: &mut Value) {
    if !value.is_null() {
        return;
    }
    let node = schema.node();
    *value = match node.kind {
        _ if node.name == QUANTITY => "0".into(),
        Some(Type::String) if node.format != "date-time" => "".into(),
        Some(Type::Boolean) => false.into(),
        Some(Type::Integer | Type::Number) => 0.into(),
        Some(Type::Object) if !node.properties.is_empty() => json!({}),
        _ => return,
    };
}

/// Whether a number is whole and in the range of its Go type.
fn is_in_range(format: &str, number: &Number) -> bool {
    let whole = number.as_i64();
    whole.is_some_and(|whole| format == "int64" || i32::try_from(whole).is_ok())
}

fn mismatch(schema: &Schema, found: &str, path: &str, owner: &str) -> String {
    let wanted = go_type(schema);
    format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}")
}

fn go_type(schema: &Schema) -> String {
    let node = schema.node();
    if let Some((package, name)) = short(&node.name) {
        return format!("{package}.{name}");
    }
    match node.kind {
        Some(Type::Boolean) => "bool".into(),
        Some(Type::Integer) => if node.format == "int64" { "int64" } else { "int32" }.into(),
        Some(Type::Number) => "float64".into(),
        Some(Type::String) if node.format == "byte" => "[]uint8".into(),
        Some(Type::String) => "string".into(),
        Some(Type::Array) => format!(
            "[]{}",
            schema.items().map(|items| go_type(&items)).unwrap_or_default()
        ),
        Some(Type::Object) => match node.additional {
            Additional::Schema(id) => format!("map[string]{}", go_type(&schema.at(id))),
            _ => "map[string]interface {}".into(),
        },
        None => "interface {}".into(),
    }
}

/// `v1` and `Pod` of `io.k8s.api.core.v1.Pod`.
fn short(name: &str) -> Option<(&str, &str)> {
    let (rest, name) = name.rsplit_once('.')?;
    let (_, package) = rest.rsplit_once('.')?;
    Some((package, name))
}
