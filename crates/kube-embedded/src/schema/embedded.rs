//! Objects in objects (`x-kubernetes-embedded-resource`): kind, version and metadata of each.

use serde_json::Value;

use super::{Schema, check_types, join, prune};
use crate::resources::names::{self, NameRule, quoted};
use crate::status::Cause;

/// Checks the types of kind, apiVersion and metadata, and drops unknown metadata; returns the paths of what it dropped.
///
/// # Errors
/// The first value of a wrong type.
pub fn coerce(
    schema: &Schema,
    metadata: &Schema,
    value: &mut Value,
    path: &str,
) -> Result<Vec<String>, String> {
    let mut dropped = Vec::new();
    if schema.node().embedded {
        for key in ["apiVersion", "kind"] {
            if let Some(other) = value.get(key).filter(|value| !value.is_string()) {
                return Err(format!(
                    "{}: Invalid value: {other}: must be a string",
                    join(path, key)
                ));
            }
        }
        let field = join(path, "metadata");
        if let Some(own) = value.get_mut("metadata") {
            let shown = own.to_string();
            let wrong = |what: &str| format!("{field}: Invalid value: {shown}: {what}");
            if !own.is_object() {
                let found = super::type_of(own);
                let what = format!("json: cannot unmarshal {found} into Go value of type v1.ObjectMeta");
                return Err(wrong(&what));
            }
            check_types(metadata, own, "ObjectMeta", "v1").map_err(|status| {
                let what = status.message.rsplit_once("as a ObjectMeta: ");
                wrong(what.map_or(&*status.message, |(_, what)| what))
            })?;
            dropped.extend(prune(metadata, own).into_iter().map(|path| join(&field, &path)));
        }
    }
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                if let Some(property) = schema.property(key) {
                    dropped.extend(coerce(&property, metadata, inner, &join(path, key))?);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                for (index, inner) in list.iter_mut().enumerate() {
                    dropped.extend(coerce(&items, metadata, inner, &format!("{path}[{index}]"))?);
                }
            }
        }
        _ => {}
    }
    Ok(dropped)
}

/// All violations of embedded objects.
#[must_use]
pub fn check(schema: &Schema, value: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    match value {
        Value::Object(map) => {
            if schema.node().embedded {
                check_identity(value, path, &mut causes);
            }
            for (key, inner) in map {
                if let Some(property) = schema.property(key) {
                    causes.extend(check(&property, inner, &join(path, key)));
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                let each = list.iter().enumerate();
                causes.extend(
                    each.flat_map(|(index, inner)| check(&items, inner, &format!("{path}[{index}]"))),
                );
            }
        }
        _ => {}
    }
    causes
}

fn check_identity(object: &Value, path: &str, causes: &mut Vec<Cause>) {
    for key in ["apiVersion", "kind"] {
        let field = join(path, key);
        match object.get(key).map(|value| value.as_str().unwrap_or_default()) {
            None => causes.push(Cause::required(field, "must not be empty")),
            Some("") => causes.push(Cause::invalid(field, &quoted(""), "must not be empty")),
            Some(text) => {
                let complaint = if key == "kind" {
                    wrong_kind(text)
                } else {
                    wrong_version(text)
                };
                causes.extend(complaint.map(|what| Cause::invalid(field, &quoted(text), &what)));
            }
        }
    }
    let Some(metadata) = object.get("metadata") else {
        return;
    };
    let mut named = serde_json::json!({ "metadata": metadata });
    let name = crate::object::metadata_mut(&mut named)
        .entry("name")
        .or_insert_with(|| "".into());
    if *name == "" {
        // A name is not required.
        *name = "name".into();
    }
    for cause in names::check_metadata(&named, NameRule::PathSegment) {
        let field = join(path, &cause.field);
        causes.push(Cause { field, ..cause });
    }
}

fn wrong_version(text: &str) -> Option<String> {
    (text.matches('/').count() > 1).then(|| format!("unexpected GroupVersion string: {text}"))
}

fn wrong_kind(text: &str) -> Option<String> {
    let complaints = NameRule::Dns1035.complaints(&text.to_lowercase());
    let list = complaints.join(",");
    (!complaints.is_empty()).then(|| format!("may have mixed case, but should otherwise match: {list}"))
}
