//! Default values of absent fields.

use serde_json::Value;

use super::{Schema, Type};

/// Sets the defaults of a schema. A null that is not allowed counts as absent where there is a default.
pub fn apply_defaults(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, &id) in &schema.node().properties {
                let property = schema.at(id);
                let Some(default) = &property.node().default else {
                    continue;
                };
                // A default `{}` that stands for a Go struct only adds the defaults of its fields, which happens below.
                if matches!(map.get(name), None | Some(Value::Null))
                    && !(map.contains_key(name) && property.node().nullable)
                {
                    map.insert(name.clone(), default.clone());
                }
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
