//! Evaluates a rule on a value.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::expression::{Comparison, Expression, Node, Root};
use super::names::property_name;
use crate::schema::{ListType, Schema};

/// Error of an operation on values that it does not exist for.
pub(super) const NO_OVERLOAD: &str = "no such overload";

/// The variables of a rule.
pub(super) struct Scope<'a> {
    pub(super) schema: &'a Schema,
    pub(super) new: &'a Value,
    /// Null for an object that is new.
    pub(super) old: &'a Value,
}

/// A value with its shape, which says how lists are compared.
struct Typed {
    value: Value,
    schema: Option<Schema>,
}

impl Typed {
    fn plain(value: impl Into<Value>) -> Self {
        Self {
            value: value.into(),
            schema: None,
        }
    }
}

impl Scope<'_> {
    /// The value of a field; `None` if it is absent. A null is absent, except in a map.
    fn select(&self, owner: &Expression, name: &str) -> Result<Option<Typed>, String> {
        let owner = self.value(owner)?;
        let has_key = owner
            .schema
            .as_ref()
            .is_some_and(|schema| schema.node().properties.is_empty());
        let name = match owner.value.get(name) {
            Some(_) if has_key => name.to_owned(),
            _ => property_name(name).unwrap_or_else(|| name.to_owned()),
        };
        let schema = owner.schema.and_then(|schema| schema.property(&name));
        let value = owner.value.get(&name).filter(|value| has_key || !value.is_null());
        Ok(value.cloned().map(|value| Typed { value, schema }))
    }

    fn value(&self, expression: &Expression) -> Result<Typed, String> {
        match &expression.node {
            Node::Root(root) => Ok(Typed {
                value: if *root == Root::New { self.new } else { self.old }.clone(),
                schema: Some(self.schema.clone()),
            }),
            Node::Select {
                owner,
                name,
                is_test: false,
            } => {
                let found = self.select(owner, name)?;
                found.ok_or_else(|| format!("no such key: {name}"))
            }
            Node::Literal(value) => Ok(Typed::plain(value.clone())),
            Node::Size(inner) => Ok(Typed::plain(match self.value(inner)?.value {
                Value::String(text) => text.chars().count(),
                Value::Array(list) => list.len(),
                Value::Object(map) => map.len(),
                _ => return Err(NO_OVERLOAD.into()),
            })),
            _ => self.truth(expression).map(Typed::plain),
        }
    }

    /// Evaluates a rule. As in CEL, one side that decides makes the other side's error irrelevant.
    pub(super) fn truth(&self, expression: &Expression) -> Result<bool, String> {
        match &expression.node {
            Node::Select {
                owner,
                name,
                is_test: true,
            } => Ok(self.select(owner, name)?.is_some()),
            Node::Not(inner) => Ok(!self.truth(inner)?),
            Node::And(left, right) => match (self.truth(left), self.truth(right)) {
                (Ok(false), _) | (_, Ok(false)) => Ok(false),
                (Ok(true), Ok(true)) => Ok(true),
                (Err(what), _) | (_, Err(what)) => Err(what),
            },
            Node::Or(left, right) => match (self.truth(left), self.truth(right)) {
                (Ok(true), _) | (_, Ok(true)) => Ok(true),
                (Ok(false), Ok(false)) => Ok(false),
                (Err(what), _) | (_, Err(what)) => Err(what),
            },
            Node::Compare(left, comparison, right) => {
                compare(&self.value(left)?, *comparison, &self.value(right)?)
            }
            _ => match self.value(expression)?.value {
                Value::Bool(truth) => Ok(truth),
                _ => Err(NO_OVERLOAD.into()),
            },
        }
    }
}

fn compare(left: &Typed, comparison: Comparison, right: &Typed) -> Result<bool, String> {
    if comparison.is_equality() {
        let is_equal = match (time(left), time(right)) {
            (Some(one), Some(two)) => one == two,
            _ => equal(left.schema.as_ref(), &left.value, &right.value),
        };
        return Ok(is_equal == (comparison == Comparison::Equal));
    }
    let order = match (time(left), time(right)) {
        (Some(one), Some(two)) => Some(one.cmp(&two)),
        _ => order(&left.value, &right.value),
    };
    let order = order.ok_or(NO_OVERLOAD)?;
    Ok(match comparison {
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(one), Value::Number(two)) => match (one.as_i64(), two.as_i64()) {
            (Some(one), Some(two)) => Some(one.cmp(&two)),
            _ => one.as_f64().partial_cmp(&two.as_f64()),
        },
        (Value::String(one), Value::String(two)) => Some(one.cmp(two)),
        (Value::Bool(one), Value::Bool(two)) => Some(one.cmp(two)),
        _ => None,
    }
}

/// The instant of a value whose format is a date or a time.
fn time(typed: &Typed) -> Option<jiff::Timestamp> {
    let format = &typed.schema.as_ref()?.node().format;
    let text = typed.value.as_str()?;
    match format.as_str() {
        "date-time" => text.parse().ok(),
        "date" => format!("{text}T00:00:00Z").parse().ok(),
        _ => None,
    }
}

/// Whether two values are equal; lists as the shape of the left one says: as sets, by keys, or in order.
fn equal(schema: Option<&Schema>, left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(_), Value::Number(_)) => order(left, right) == Some(Ordering::Equal),
        (Value::Object(one), Value::Object(two)) => equal_objects(schema, one, two),
        (Value::Array(one), Value::Array(two)) => one.len() == two.len() && equal_lists(schema, one, two),
        _ => left == right,
    }
}

fn equal_objects(schema: Option<&Schema>, one: &Map<String, Value>, two: &Map<String, Value>) -> bool {
    let present = |map: &Map<String, Value>| map.values().filter(|value| !value.is_null()).count();
    present(one) == present(two)
        && one
            .iter()
            .filter(|(_, value)| !value.is_null())
            .all(|(key, value)| {
                let inner = schema.and_then(|schema| schema.property(key));
                two.get(key)
                    .is_some_and(|other| equal(inner.as_ref(), value, other))
            })
}

fn equal_lists(schema: Option<&Schema>, one: &[Value], two: &[Value]) -> bool {
    let items = schema.and_then(Schema::items);
    let is_equal = |left: &Value, right: &Value| equal(items.as_ref(), left, right);
    match schema.map(|schema| schema.node().list_type) {
        Some(ListType::Set | ListType::Map) => one
            .iter()
            .all(|left| two.iter().any(|right| is_equal(left, right))),
        _ => one.iter().zip(two).all(|(left, right)| is_equal(left, right)),
    }
}
