//! Validation rules (`x-kubernetes-validations`), the supported subset: comparisons of the new value with
//! the old one and with constants, joined by `&&` and `||`, negated by `!`, and `has()`.
//!
//! A definition with an unsupported rule is rejected: a check that is not made must not look as if it were.

mod evaluate;
mod expression;
mod parse;

use serde_json::Value;

use self::evaluate::Scope;
use self::expression::Expression;
use super::{Additional, Schema, join};
use crate::status::Cause;

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    expression: Expression,
    source: String,
    message: String,
    field_path: String,
    reason: &'static str,
    /// Whether it uses the old value: then it does not apply to a new object.
    transition: bool,
}

impl Rule {
    /// Compiles a rule of a schema.
    ///
    /// # Errors
    /// The unsupported part.
    pub fn parse(rule: &Value) -> Result<Self, String> {
        let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
        if rule.get("messageExpression").is_some() || rule.get("optionalOldSelf").is_some() {
            return Err("messageExpression and optionalOldSelf are not implemented".to_owned());
        }
        let source = text("rule").trim().to_owned();
        let expression = parse::expression(&source)?;
        let reason = match text("reason") {
            "FieldValueForbidden" => "FieldValueForbidden",
            "FieldValueRequired" => "FieldValueRequired",
            "FieldValueDuplicate" => "FieldValueDuplicate",
            _ => "FieldValueInvalid",
        };
        let transition = expression.uses_old();
        let (message, field_path) = (text("message").to_owned(), text("fieldPath").to_owned());
        Ok(Self {
            expression,
            source,
            message,
            field_path,
            reason,
            transition,
        })
    }

    fn check(&self, value: &Value, old: Option<&Value>, path: &str) -> Option<Cause> {
        if self.transition && old.is_none() {
            return None;
        }
        let scope = Scope {
            new: value,
            old: old.unwrap_or(&Value::Null),
        };
        let field = match (path.is_empty(), self.field_path.is_empty()) {
            (true, true) => "<nil>".to_owned(),
            (_, true) => path.to_owned(),
            _ => format!("{path}{}", self.field_path),
        };
        let shown = match value {
            Value::Object(_) => "\"object\"".to_owned(),
            Value::Array(_) => "\"array\"".to_owned(),
            other => other.to_string(),
        };
        match scope.truth(&self.expression) {
            Ok(true) => None,
            Ok(false) => {
                let message = if self.message.is_empty() {
                    format!("failed rule: {}", self.source)
                } else {
                    self.message.clone()
                };
                Some(match self.reason {
                    "FieldValueForbidden" => Cause::forbidden(field, &message),
                    "FieldValueRequired" => Cause::required(field, &message),
                    "FieldValueDuplicate" => Cause::duplicate(field, &shown),
                    _ => Cause::invalid(field, &shown, &message),
                })
            }
            Err(what) => {
                let detail = format!("rule evaluation error: {what} evaluating rule: {}", self.source);
                Some(Cause::invalid(field, &shown, &detail))
            }
        }
    }
}

/// Checks all rules below a node. `old` is the value before the write.
#[must_use]
pub fn check(schema: &Schema, value: &Value, old: Option<&Value>, path: &str) -> Vec<Cause> {
    let node = schema.node();
    let mut causes: Vec<Cause> = node
        .rules
        .iter()
        .filter_map(|rule| rule.check(value, old, path))
        .collect();
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let Some(property) = schema.property(key) else {
                    continue;
                };
                let free =
                    !node.properties.contains_key(key) && matches!(node.additional, Additional::Schema(_));
                let below = if free {
                    format!("{path}[{key}]")
                } else {
                    join(path, key)
                };
                causes.extend(check(&property, inner, old.and_then(|old| old.get(key)), &below));
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.items() else {
                return causes;
            };
            for (index, inner) in list.iter().enumerate() {
                let before = counterpart(schema, inner, old);
                causes.extend(check(&items, inner, before, &format!("{path}[{index}]")));
            }
        }
        _ => {}
    }
    causes
}

/// The old item with the same keys; items of other lists have none.
fn counterpart<'a>(schema: &Schema, item: &Value, old: Option<&'a Value>) -> Option<&'a Value> {
    let keys = &schema.node().list_keys;
    let same = |other: &&Value| keys.iter().all(|key| other.get(key) == item.get(key));
    if keys.is_empty() {
        None
    } else {
        old?.as_array()?.iter().find(same)
    }
}
