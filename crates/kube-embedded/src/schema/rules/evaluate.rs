//! Evaluates a rule on a value.

use serde_json::Value;

use super::expression::{Comparison, Expression, Root};

/// The variables of a rule.
pub(super) struct Scope<'a> {
    pub(super) new: &'a Value,
    /// Null for an object that is new.
    pub(super) old: &'a Value,
}

impl Scope<'_> {
    fn find(&self, root: Root, path: &[String]) -> Option<&Value> {
        let start = if root == Root::New { self.new } else { self.old };
        path.iter().try_fold(start, |value, name| value.get(name))
    }

    fn value(&self, expression: &Expression) -> Result<Value, String> {
        match expression {
            Expression::Path(root, path) => {
                let missing = || format!("no such key: {}", path.last().map_or("", String::as_str));
                self.find(*root, path).cloned().ok_or_else(missing)
            }
            Expression::Literal(value) => Ok(value.clone()),
            Expression::Size(inner) => Ok(match self.value(inner)? {
                Value::String(text) => text.chars().count().into(),
                Value::Array(list) => list.len().into(),
                Value::Object(map) => map.len().into(),
                _ => return Err("no such overload: size".into()),
            }),
            logical => self.truth(logical).map(Value::Bool),
        }
    }

    /// Evaluates a rule. As in CEL, one side that decides makes the other side's error irrelevant.
    pub(super) fn truth(&self, expression: &Expression) -> Result<bool, String> {
        match expression {
            Expression::Has(root, path) => Ok(self.find(*root, path).is_some()),
            Expression::Not(inner) => Ok(!self.truth(inner)?),
            Expression::And(left, right) => match (self.truth(left), self.truth(right)) {
                (Ok(false), _) | (_, Ok(false)) => Ok(false),
                (Ok(true), Ok(true)) => Ok(true),
                (Err(what), _) | (_, Err(what)) => Err(what),
            },
            Expression::Or(left, right) => match (self.truth(left), self.truth(right)) {
                (Ok(true), _) | (_, Ok(true)) => Ok(true),
                (Ok(false), Ok(false)) => Ok(false),
                (Err(what), _) | (_, Err(what)) => Err(what),
            },
            Expression::Compare(left, comparison, right) => {
                compare(&self.value(left)?, *comparison, &self.value(right)?)
            }
            other => match self.value(other)? {
                Value::Bool(truth) => Ok(truth),
                _ => Err("no such overload: not a bool".into()),
            },
        }
    }
}

fn compare(left: &Value, comparison: Comparison, right: &Value) -> Result<bool, String> {
    let equal = match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    };
    match comparison {
        Comparison::Equal => return Ok(equal),
        Comparison::NotEqual => return Ok(!equal),
        _ => {}
    }
    let order = match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    };
    let order = order.ok_or("no such overload: comparison")?;
    Ok(match comparison {
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        _ => order.is_ge(),
    })
}
