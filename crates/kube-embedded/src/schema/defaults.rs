//! Default values of absent fields, and nulls where none is allowed.

use serde_json::Value;

use super::{Schema, Type};

/// Sets the defaults of a schema, and removes nulls that are not allowed; in lists they stay.
pub fn apply_defaults(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, inner| {
                let allowed = |property: Schema| property.node().nullable;
                !inner.is_null() || schema.property(name).is_none_or(allowed)
            });
            for (name, &id) in &schema.node().properties {
                let property = schema.at(id);
                let Some(default) = &property.node().default else {
                    continue;
                };
                map.entry(name.clone()).or_insert_with(|| default.clone());
            }
            for (name, inner) in map.iter_mut() {
                if let Some(property) = schema.property(name) {
                    apply_defaults(&property, inner);
                }
            }
        }
        Value::Array(list) if schema.node().kind == Some(Type::Array) => {
            if let Some(items) = schema.items() {
                list.iter_mut().for_each(|inner| apply_defaults(&items, inner));
            }
        }
        _ => {}
    }
}
