//! Checks of values against a custom resource's schema.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Checks, ListType, Schema, Type, format, join, type_of};
use crate::status::Cause;

/// All violations of a value.
#[must_use]
pub fn validate(schema: &Schema, value: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(schema, value, path, &mut causes);
    causes
}

fn check(schema: &Schema, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let node = schema.node();
    if value.is_null() && node.nullable {
        return;
    }
    if !fits(schema, value) {
        let wanted = if node.int_or_string {
            "integer,string"
        } else {
            node.kind.map_or("", Type::name)
        };
        let shown = type_of(value);
        let detail = format!("{path} in body must be of type {wanted}: \"{shown}\"");
        causes.push(Cause::wrong_type(path, shown, &detail));
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if let Some(property) = schema.property(key) {
                    check(&property, inner, &join(path, key), causes);
                }
            }
            let missing = node.required.iter().filter(|name| !map.contains_key(*name));
            causes.extend(missing.map(|name| Cause::required(join(path, name), "")));
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                for (index, inner) in list.iter().enumerate() {
                    check(&items, inner, &format!("{path}[{index}]"), causes);
                }
            }
            duplicates(schema, list, path, causes);
        }
        Value::String(text) if !format::matches(&node.format, text) => {
            let kind = &node.format;
            let detail = format!("{path} in body must be of type {kind}: \"{text}\"");
            causes.push(Cause::wrong_type(path, text, &detail));
        }
        _ => {}
    }
    if let Some(checks) = &node.checks {
        checks.check(schema, value, path, causes);
    }
}

fn fits(schema: &Schema, value: &Value) -> bool {
    let node = schema.node();
    if node.int_or_string {
        return value.is_string() || is_integer(value);
    }
    match node.kind {
        None => true,
        Some(Type::Object) => value.is_object(),
        Some(Type::Array) => value.is_array(),
        Some(Type::String) => value.is_string(),
        Some(Type::Boolean) => value.is_boolean(),
        Some(Type::Number) => value.is_number(),
        Some(Type::Integer) => is_integer(value),
    }
}

/// 3.0 is an integer to JSON Schema.
pub(super) fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn duplicates(schema: &Schema, list: &[Value], path: &str, causes: &mut Vec<Cause>) {
    let node = schema.node();
    let mut seen = BTreeSet::new();
    for (index, item) in list.iter().enumerate() {
        let (key, shown) = match node.list_type {
            ListType::Atomic => return,
            ListType::Set => (item.to_string(), item.to_string()),
            ListType::Map => keys_of(item, &node.list_keys),
        };
        if !seen.insert(key) {
            causes.push(Cause::duplicate(format!("{path}[{index}]"), &shown));
        }
    }
}

fn keys_of(item: &Value, keys: &[String]) -> (String, String) {
    let pairs: Vec<String> = keys
        .iter()
        .filter_map(|key| Some(format!("\"{key}\":{}", item.get(key)?)))
        .collect();
    let joined = pairs.join(", ");
    (joined.clone(), format!("map[string]interface {{}}{{{joined}}}"))
}

impl Checks {
    fn check(&self, schema: &Schema, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        if !self.one_of_values.is_empty() && !self.one_of_values.contains(value) {
            let supported: Vec<String> = self.one_of_values.iter().map(ToString::to_string).collect();
            causes.push(Cause::not_supported(path, &value.to_string(), &supported));
        }
        match value {
            Value::Number(number) => {
                self.check_number(number.as_f64().unwrap_or_default(), value, path, causes)
            }
            Value::String(text) => self.check_text(text, path, causes),
            Value::Array(list) => self.check_list(list, path, causes),
            Value::Object(map) => self.check_size(map.len() as u64, path, causes),
            _ => {}
        }
        self.check_alternatives(schema, value, path, causes);
    }

    fn check_number(&self, number: f64, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        let mut broken = |what: String| {
            causes.push(Cause::invalid(
                path,
                &value.to_string(),
                &format!("{path} in body should be {what}"),
            ));
        };
        if let Some(minimum) = self.minimum
            && (number < minimum || (self.exclusive_minimum && number == minimum))
        {
            broken(format!(
                "greater than {}{minimum}",
                if self.exclusive_minimum {
                    ""
                } else {
                    "or equal to "
                }
            ));
        }
        if let Some(maximum) = self.maximum
            && (number > maximum || (self.exclusive_maximum && number == maximum))
        {
            broken(format!(
                "less than {}{maximum}",
                if self.exclusive_maximum {
                    ""
                } else {
                    "or equal to "
                }
            ));
        }
        if let Some(unit) = self.multiple_of
            && (number / unit).fract() != 0.0
        {
            broken(format!("a multiple of {unit}"));
        }
    }

    fn check_text(&self, text: &str, path: &str, causes: &mut Vec<Cause>) {
        let length = text.chars().count() as u64;
        let shown = Value::from(text).to_string();
        if let Some(minimum) = self.min_length.filter(|&minimum| length < minimum) {
            let detail = format!("{path} in body should be at least {minimum} chars long");
            causes.push(Cause::invalid(path, &shown, &detail));
        }
        if let Some(maximum) = self.max_length.filter(|&maximum| length > maximum) {
            let message = format!("Too long: may not be more than {maximum} bytes");
            causes.push(Cause {
                reason: "FieldValueTooLong",
                message,
                field: path.into(),
            });
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            causes.push(Cause::invalid(
                path,
                &shown,
                &format!("{path} in body should match '{pattern}'"),
            ));
        }
    }

    fn check_list(&self, list: &[Value], path: &str, causes: &mut Vec<Cause>) {
        let length = list.len() as u64;
        if let Some(minimum) = self.min_items.filter(|&minimum| length < minimum) {
            let detail = format!("{path} in body should have at least {minimum} items");
            causes.push(Cause::invalid(path, &length.to_string(), &detail));
        }
        if let Some(maximum) = self.max_items.filter(|&maximum| length > maximum) {
            causes.push(too_many(path, length, maximum));
        }
    }

    fn check_size(&self, size: u64, path: &str, causes: &mut Vec<Cause>) {
        if let Some(minimum) = self.min_properties.filter(|&minimum| size < minimum) {
            let detail = format!("{path} in body should have at least {minimum} properties");
            causes.push(Cause::invalid(path, &size.to_string(), &detail));
        }
        if let Some(maximum) = self.max_properties.filter(|&maximum| size > maximum) {
            causes.push(too_many(path, size, maximum));
        }
    }

    fn check_alternatives(&self, schema: &Schema, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        let passes = |id: &usize| validate(&schema.at(*id), value, path).is_empty();
        for id in &self.all_of {
            causes.extend(validate(&schema.at(*id), value, path));
        }
        let mut broken = |what: &str| {
            causes.push(Cause::invalid(
                path,
                &format!("\"{}\"", type_of(value)),
                &format!("{path} in body must {what}"),
            ));
        };
        if !self.any_of.is_empty() && !self.any_of.iter().any(passes) {
            broken("validate at least one schema (anyOf)");
        }
        let valid = self.one_of.iter().filter(|id| passes(id)).count();
        if !self.one_of.is_empty() && valid != 1 {
            broken(&format!(
                "validate one and only one schema (oneOf). Found {}",
                if valid == 0 {
                    "none valid"
                } else {
                    "several valid alternatives"
                }
            ));
        }
        if self.not.as_ref().is_some_and(passes) {
            broken("not validate the schema (not)");
        }
    }
}

fn too_many(path: &str, found: u64, maximum: u64) -> Cause {
    let message = format!("Too many: {found}: must have at most {maximum} items");
    Cause {
        reason: "FieldValueTooMany",
        message,
        field: path.into(),
    }
}
