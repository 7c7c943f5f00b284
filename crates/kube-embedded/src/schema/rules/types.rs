//! Types of rules: those of the schema's fields, as the real server declares them.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::expression::{Comparison, Expression, Node};
use super::names::property_name;
use super::parse::ParseError;

/// The fields of metadata that rules may use.
static METADATA: LazyLock<Value> = LazyLock::new(
    || json!({"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}}),
);
static TEXT: LazyLock<Value> = LazyLock::new(|| json!({"type": "string"}));

/// The type of a part of a rule. Lists, maps and objects have their schema.
#[derive(Debug, Clone)]
enum Type<'a> {
    Int,
    Double,
    Bool,
    Text,
    Bytes,
    Timestamp,
    Duration,
    Null,
    /// Known only when the rule is evaluated, or after an error.
    Dynamic,
    List(&'a Value, String),
    Map(&'a Value, String),
    Object(&'a Value, String),
}

impl<'a> Type<'a> {
    /// The type of a schema; `None` if rules cannot use it. `path` identifies objects.
    fn of(schema: &'a Value, path: &str) -> Option<Self> {
        if schema["x-kubernetes-int-or-string"] == true {
            return Some(Self::Dynamic);
        }
        Some(
            match (
                schema["type"].as_str()?,
                schema["format"].as_str().unwrap_or_default(),
            ) {
                ("integer", _) => Self::Int,
                ("number", _) => Self::Double,
                ("boolean", _) => Self::Bool,
                ("string", "byte") => Self::Bytes,
                ("string", "duration") => Self::Duration,
                ("string", "date" | "date-time") => Self::Timestamp,
                ("string", _) => Self::Text,
                ("array", _) => Self::List(&schema["items"], format!("{path}.@idx")),
                _ => match schema
                    .get("additionalProperties")
                    .filter(|values| values.is_object())
                {
                    Some(values) => Self::Map(values, format!("{path}.@elem")),
                    None => Self::Object(schema, path.to_owned()),
                },
            },
        )
    }

    fn element(&self) -> Self {
        match self {
            Self::List(schema, path) | Self::Map(schema, path) => {
                Self::of(schema, path).unwrap_or(Self::Dynamic)
            }
            _ => Self::Dynamic,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Int => "int".to_owned(),
            Self::Double => "double".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Text => "string".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::Timestamp => "timestamp".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Dynamic => "dyn".to_owned(),
            Self::List(..) => format!("list({})", self.element().name()),
            Self::Map(..) => format!("map(string, {})", self.element().name()),
            Self::Object(_, path) => format!("selfType1{path}"),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dynamic, _) | (_, Self::Dynamic) => true,
            (Self::List(..), Self::List(..)) | (Self::Map(..), Self::Map(..)) => {
                self.element().is_same(&other.element())
            }
            (Self::Object(_, one), Self::Object(_, two)) => one == two,
            (Self::Null, Self::Object(..) | Self::Timestamp | Self::Duration)
            | (Self::Object(..) | Self::Timestamp | Self::Duration, Self::Null) => true,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    fn has_order_with(&self, other: &Self) -> bool {
        let is_ordered = |kind: &Self| {
            !matches!(
                kind,
                Self::Null | Self::List(..) | Self::Map(..) | Self::Object(..)
            )
        };
        let is_number = |kind: &Self| matches!(kind, Self::Int | Self::Double);
        is_ordered(self)
            && is_ordered(other)
            && (self.is_same(other) || (is_number(self) && is_number(other)))
    }
}

/// Checks the types of a rule of a schema. `is_resource`: the schema is that of a whole object.
///
/// # Errors
/// All errors in the form of the real server, or the unsupported part.
pub(super) fn check(
    expression: &Expression,
    source: &str,
    schema: &Value,
    is_resource: bool,
) -> Result<(), ParseError> {
    let mut checker = Checker {
        root: Type::of(schema, "").unwrap_or(Type::Dynamic),
        is_resource,
        errors: Vec::new(),
        unsupported: None,
    };
    let result = checker.check(expression);
    if !checker.errors.is_empty() {
        let errors: Vec<String> = checker
            .errors
            .iter()
            .map(|(at, what)| report(source, *at, what))
            .collect();
        let text = format!("compilation failed: {}", errors.join("\n"));
        return Err(ParseError::Syntax(0, text));
    }
    match (checker.unsupported, result) {
        (Some(what), _) => Err(ParseError::Unsupported(what)),
        (None, Type::Bool) => Ok(()),
        (None, _) => Err(ParseError::Syntax(
            0,
            "cel expression must evaluate to a bool".to_owned(),
        )),
    }
}

/// An error with the line of the source and a mark below it.
pub(super) fn report(source: &str, at: usize, what: &str) -> String {
    let before: String = source.chars().take(at).collect();
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let text = source.lines().nth(line).unwrap_or_default();
    let dots = ".".repeat(column);
    format!(
        "ERROR: <input>:{}:{}: {what}\n | {text}\n | {dots}^",
        line + 1,
        column + 1
    )
}

struct Checker<'a> {
    root: Type<'a>,
    is_resource: bool,
    errors: Vec<(usize, String)>,
    unsupported: Option<String>,
}

impl<'a> Checker<'a> {
    fn check(&mut self, expression: &Expression) -> Type<'a> {
        let at = expression.at;
        match &expression.node {
            Node::Root(_) => self.root.clone(),
            Node::Unknown(name) => {
                self.fail(at, format!("undeclared reference to '{name}' (in container '')"))
            }
            Node::Literal(value) => match value {
                Value::Null => Type::Null,
                Value::Bool(_) => Type::Bool,
                Value::Number(number) if number.is_f64() => Type::Double,
                Value::Number(_) => Type::Int,
                _ => Type::Text,
            },
            Node::Select { owner, name, is_test } => {
                let owner = self.check(owner);
                let field = self.field(&owner, name, at);
                if *is_test { Type::Bool } else { field }
            }
            Node::Size(inner) => match self.check(inner) {
                Type::Text | Type::Bytes | Type::List(..) | Type::Map(..) | Type::Dynamic => Type::Int,
                other => self.fail(at, no_overload("size", &[&other])),
            },
            Node::Not(inner) => match self.check(inner) {
                Type::Bool | Type::Dynamic => Type::Bool,
                other => self.fail(at, no_overload("!_", &[&other])),
            },
            Node::And(left, right) | Node::Or(left, right) => {
                for side in [left, right] {
                    let found = self.check(side);
                    if !matches!(found, Type::Bool | Type::Dynamic) {
                        self.fail(
                            side.at,
                            format!("expected type 'bool' but found '{}'", found.name()),
                        );
                    }
                }
                Type::Bool
            }
            Node::Compare(left, comparison, right) => {
                let (left, right) = (self.check(left), self.check(right));
                self.compare(&left, *comparison, &right, at)
            }
        }
    }

    fn fail(&mut self, at: usize, what: String) -> Type<'a> {
        self.errors.push((at, what));
        Type::Dynamic
    }

    fn compare(&mut self, left: &Type<'a>, comparison: Comparison, right: &Type<'a>, at: usize) -> Type<'a> {
        let fits = match comparison.is_equality() {
            true => left.is_same(right),
            false => left.has_order_with(right),
        };
        if !fits {
            return self.fail(at, no_overload(comparison.name(), &[left, right]));
        }
        let is_special = |kind: &Type<'_>| matches!(kind, Type::Bytes | Type::Duration);
        if is_special(left) || is_special(right) {
            self.unsupported =
                Some("comparisons of durations and bytes are not implemented in rules".to_owned());
        }
        Type::Bool
    }

    fn field(&mut self, owner: &Type<'a>, name: &str, at: usize) -> Type<'a> {
        let found = match owner {
            Type::Dynamic => return Type::Dynamic,
            Type::Map(..) => return owner.element(),
            Type::Object(schema, path) => self.property(schema, path, name),
            other => {
                let what = format!("type '{}' does not support field selection", other.name());
                return self.fail(at, what);
            }
        };
        match found {
            Some(found) => found,
            None => self.fail(at, format!("undefined field '{name}'")),
        }
    }

    fn property(&self, schema: &'a Value, path: &str, name: &str) -> Option<Type<'a>> {
        let has_identity =
            (self.is_resource && path.is_empty()) || schema["x-kubernetes-embedded-resource"] == true;
        let below = format!("{path}.{name}");
        match name {
            "apiVersion" | "kind" if has_identity => Type::of(&TEXT, &below),
            "metadata" if has_identity => Type::of(&METADATA, &below),
            name => Type::of(schema["properties"].get(property_name(name)?)?, &below),
        }
    }
}

fn no_overload(function: &str, arguments: &[&Type<'_>]) -> String {
    let names: Vec<String> = arguments.iter().map(|kind| kind.name()).collect();
    format!(
        "found no matching overload for '{function}' applied to '({})'",
        names.join(", ")
    )
}
