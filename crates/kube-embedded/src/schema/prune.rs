//! Drops fields that are not in the schema.

use serde_json::Value;

use super::{Additional, NodeId, Schema, join};

/// Paths of dropped fields.
pub type Unknown = Vec<String>;

/// Drops unknown fields and returns their paths. At the root of an object, and of an embedded one, `apiVersion`,
/// `kind` and `metadata` are known.
pub fn prune(schema: &Schema, value: &mut Value) -> Unknown {
    let mut unknown = Vec::new();
    walk(schema, value, "", true, &mut unknown);
    unknown
}

fn walk(schema: &Schema, value: &mut Value, path: &str, is_object: bool, unknown: &mut Unknown) {
    let node = schema.node();
    match value {
        Value::Object(map) => {
            let keeps_all = node.preserve_unknown || node.additional != Additional::None;
            let mut dropped = Vec::new();
            for (key, inner) in map.iter_mut() {
                if (is_object || node.embedded) && matches!(key.as_str(), "apiVersion" | "kind" | "metadata")
                {
                    continue;
                }
                match child(schema, key) {
                    Some(id) => walk(&schema.at(id), inner, &join(path, key), false, unknown),
                    None if keeps_all => {}
                    None => dropped.push(key.clone()),
                }
            }
            for key in dropped {
                map.remove(&key);
                unknown.push(join(path, &key));
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.items() else { return };
            for (index, inner) in list.iter_mut().enumerate() {
                walk(&items, inner, &format!("{path}[{index}]"), false, unknown);
            }
        }
        _ => {}
    }
}

fn child(schema: &Schema, key: &str) -> Option<NodeId> {
    let node = schema.node();
    match (node.properties.get(key), node.additional) {
        (Some(&id), _) | (None, Additional::Schema(id)) => Some(id),
        _ => None,
    }
}
