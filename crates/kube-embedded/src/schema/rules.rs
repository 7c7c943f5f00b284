//! Validation rules (`x-kubernetes-validations`), the supported subset: comparisons of the new value with
//! the old one and with constants, joined by `&&` and `||`, negated by `!`, and `has()`.
//!
//! A definition with an unsupported rule is rejected: a check that is not made must not look as if it were.

mod evaluate;
mod expression;
mod names;
mod parse;
mod types;

use serde_json::Value;

use self::evaluate::{NO_OVERLOAD, Scope};
use self::expression::Expression;
use self::parse::ParseError;
use super::compile::Complaint;
use super::{Additional, Schema, join};
use crate::resources::names::quoted;
use crate::status::Cause;

/// Reasons that a rule may give.
const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    expression: Expression,
    source: String,
    message: String,
    field_path: String,
    reason: &'static str,
    /// The type of the schema, which errors show in place of the value.
    shown: String,
    /// Whether it uses the old value: then it does not apply to a new object.
    transition: bool,
}

/// Where a rule is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The schema of the rule.
    pub schema: &'a Value,
    /// Path of the rule.
    pub path: &'a str,
    /// Whether the schema is that of a whole object.
    pub is_resource: bool,
    /// Path of the list whose items cannot be correlated with those before a write, if the rule is below one.
    pub uncorrelatable: Option<&'a str>,
}

impl Rule {
    /// Compiles a rule of a schema.
    ///
    /// # Errors
    /// All errors, and the unsupported part.
    pub fn parse(rule: &Value, place: Place<'_>) -> Result<Self, Vec<Complaint>> {
        let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
        let mut complaints = complaints_of_texts(rule, place);
        let source = text("rule").trim().to_owned();
        if rule.get("messageExpression").is_some() || rule.get("optionalOldSelf").is_some() {
            let what = "messageExpression and optionalOldSelf are not implemented".to_owned();
            let field = place.path.to_owned();
            complaints.push(Complaint::Unsupported { field, what });
        }
        if source.is_empty() {
            return Err(complaints);
        }
        let expression = match compile(text("rule"), place) {
            Ok(expression) => expression,
            Err(error) => {
                complaints.push(complaint(rule, place, error));
                return Err(complaints);
            }
        };
        let transition = expression.uses_old();
        if let Some(list) = place.uncorrelatable.filter(|_| transition) {
            let detail =
                format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}");
            let field = join(place.path, "rule");
            complaints.push(Cause::invalid(field, &quoted(text("rule")), &detail).into());
        }
        if !complaints.is_empty() {
            return Err(complaints);
        }
        let reason = REASONS.into_iter().find(|reason| *reason == text("reason"));
        Ok(Self {
            expression,
            source,
            message: text("message").trim().to_owned(),
            field_path: names::field_path(text("fieldPath").trim(), place.schema).unwrap_or_default(),
            reason: reason.unwrap_or("FieldValueInvalid"),
            shown: quoted(place.schema["type"].as_str().unwrap_or_default()),
            transition,
        })
    }

    fn check(&self, schema: &Schema, value: &Value, old: Option<&Value>, path: &str) -> Option<Cause> {
        if self.transition && old.is_none() {
            return None;
        }
        let scope = Scope {
            schema,
            new: value,
            old: old.unwrap_or(&Value::Null),
        };
        let field = match (path.is_empty(), self.field_path.is_empty()) {
            (true, true) => "<nil>".to_owned(),
            (true, false) => self.field_path.trim_start_matches('.').to_owned(),
            _ => format!("{path}{}", self.field_path),
        };
        let name = if self.message.is_empty() {
            &self.source
        } else {
            &self.message
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
                    "FieldValueDuplicate" => Cause::duplicate(field, &self.shown),
                    _ => Cause::invalid(field, &self.shown, &message),
                })
            }
            Err(what) => {
                let detail = if what == NO_OVERLOAD {
                    format!(
                        "'{what}': call arguments did not match a supported operator, function or macro signature for rule: {name}"
                    )
                } else {
                    format!("{what} evaluating rule: {name}")
                };
                Some(Cause::invalid(field, &self.shown, &detail))
            }
        }
    }
}

fn compile(source: &str, place: Place<'_>) -> Result<Expression, ParseError> {
    let expression = parse::expression(source).map_err(|error| match error {
        ParseError::Syntax(at, what) => {
            let report = types::report(source, at, &what);
            ParseError::Syntax(at, format!("compilation failed: {report}"))
        }
        other => other,
    })?;
    types::check(&expression, source, place.schema, place.is_resource)?;
    Ok(expression)
}

fn complaint(rule: &Value, place: Place<'_>, error: ParseError) -> Complaint {
    let text = |key: &str| quoted(rule.get(key).and_then(Value::as_str).unwrap_or_default());
    let field = join(place.path, "rule");
    match error {
        ParseError::Unsupported(what) => {
            let what = format!("{what} ({})", text("rule"));
            Complaint::Unsupported { field, what }
        }
        ParseError::Syntax(_, what) => {
            let reason = if rule.get("reason").is_some() {
                "0xc000000000"
            } else {
                "nil"
            };
            let shown = format!(
                "apiextensions.ValidationRule{{Rule:{}, Message:{}, MessageExpression:{}, Reason:(*apiextensions.FieldValueErrorReason)({reason}), FieldPath:{}, OptionalOldSelf:(*bool)(nil)}}",
                text("rule"),
                text("message"),
                text("messageExpression"),
                text("fieldPath")
            );
            Cause::invalid(field, &shown, &what).into()
        }
    }
}

/// Errors of a rule's texts, without the rule itself.
fn complaints_of_texts(rule: &Value, place: Place<'_>) -> Vec<Complaint> {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
    let at = |key: &str| join(place.path, key);
    let is_broken = |text: &str| text.contains(['\n', '\r']);
    let (source, message) = (text("rule").trim(), text("message").trim());
    let invalid = |key: &str, what: &str| Cause::invalid(at(key), &quoted(text(key)), what);
    let mut causes = Vec::new();
    if source.is_empty() {
        causes.push(Cause::required(at("rule"), "rule is not specified"));
    } else if message.is_empty() && !text("message").is_empty() {
        causes.push(invalid("message", "message must be non-empty if specified"));
    } else if is_broken(message) {
        causes.push(invalid("message", "message must not contain line breaks"));
    } else if is_broken(source) && message.is_empty() {
        let detail = "message must be specified if rule contains line breaks";
        causes.push(Cause::required(at("message"), detail));
    }
    if rule.get("messageExpression").is_some() && text("messageExpression").trim().is_empty() {
        let detail = "messageExpression must be non-empty if specified";
        causes.push(Cause::required(at("messageExpression"), detail));
    }
    if let Some(reason) = rule.get("reason").and_then(Value::as_str)
        && !REASONS.contains(&reason)
    {
        let supported = REASONS.map(quoted);
        causes.push(Cause::not_supported(at("reason"), &quoted(reason), &supported));
    }
    let path = text("fieldPath");
    if !path.is_empty() && path.trim().is_empty() {
        causes.push(invalid("fieldPath", "fieldPath must be non-empty if specified"));
    }
    if is_broken(path) {
        causes.push(invalid("fieldPath", "fieldPath must not contain line breaks"));
    }
    if !path.is_empty() && names::field_path(path, place.schema).is_none_or(|path| path.is_empty()) {
        causes.push(invalid("fieldPath", "fieldPath must be a valid path"));
    }
    causes.into_iter().map(Into::into).collect()
}

/// Checks all rules below a node. `old` is the value before the write.
#[must_use]
pub fn check(schema: &Schema, value: &Value, old: Option<&Value>, path: &str) -> Vec<Cause> {
    let node = schema.node();
    if value.is_null() {
        return Vec::new();
    }
    let mut causes: Vec<Cause> = node
        .rules
        .iter()
        .filter_map(|rule| rule.check(schema, value, old, path))
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
                let before = old.and_then(|old| old.get(key)).filter(|old| !old.is_null());
                causes.extend(check(&property, inner, before, &below));
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
