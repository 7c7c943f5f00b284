//! Validation rules (`x-kubernetes-validations`), as far as they are understood: comparisons of the new value with
//! the old one and with constants, joined by `&&` and `||`, negated by `!`, and `has()`.
//!
//! A rule that is more than that makes its definition refused: a check that is not made must not look as if it were.

use serde_json::Value;

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
    /// Whether it compares with the old value: then it holds for a new object.
    transition: bool,
}

#[derive(Debug, Clone)]
enum Expression {
    Path(Root, Vec<String>),
    Has(Root, Vec<String>),
    Literal(Value),
    Size(Box<Self>),
    Compare(Box<Self>, Comparison, Box<Self>),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    New,
    Old,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Rule {
    /// Out of a rule of a schema.
    ///
    /// # Errors
    /// What of it is not understood.
    pub fn parse(rule: &Value) -> Result<Self, String> {
        let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
        if rule.get("messageExpression").is_some() || rule.get("optionalOldSelf").is_some() {
            return Err("messageExpression and optionalOldSelf are not implemented".to_owned());
        }
        let source = text("rule").trim().to_owned();
        let mut parser = Parser {
            tokens: tokens(&source)?,
            at: 0,
        };
        let expression = parser.or()?;
        if let Some(token) = parser.tokens.get(parser.at) {
            return Err(format!("the rule is not understood at {token:?}"));
        }
        let reason = match text("reason") {
            "FieldValueForbidden" => "FieldValueForbidden",
            "FieldValueRequired" => "FieldValueRequired",
            "FieldValueDuplicate" => "FieldValueDuplicate",
            _ => "FieldValueInvalid",
        };
        let transition = uses_old(&expression);
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

/// Checks all rules below a schema. `old` is the value before the write.
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

/// The old item with the same keys; items of other lists have no past.
fn counterpart<'a>(schema: &Schema, item: &Value, old: Option<&'a Value>) -> Option<&'a Value> {
    let keys = &schema.node().list_keys;
    let same = |other: &&Value| keys.iter().all(|key| other.get(key) == item.get(key));
    if keys.is_empty() {
        None
    } else {
        old?.as_array()?.iter().find(same)
    }
}

fn uses_old(expression: &Expression) -> bool {
    match expression {
        Expression::Path(root, _) | Expression::Has(root, _) => *root == Root::Old,
        Expression::Literal(_) => false,
        Expression::Size(inner) | Expression::Not(inner) => uses_old(inner),
        Expression::Compare(left, _, right) | Expression::And(left, right) | Expression::Or(left, right) => {
            uses_old(left) || uses_old(right)
        }
    }
}

struct Scope<'a> {
    new: &'a Value,
    old: &'a Value,
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

    /// As CEL has it: one side that decides makes the other's failure harmless.
    fn truth(&self, expression: &Expression) -> Result<bool, String> {
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

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Literal(Value),
    Sign(&'static str),
}

const SIGNS: &[&str] = &["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", "."];

fn tokens(source: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        let length;
        if first.is_ascii_alphabetic() || first == '_' {
            length = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            tokens.push(match &rest[..length] {
                "true" => Token::Literal(true.into()),
                "false" => Token::Literal(false.into()),
                "null" => Token::Literal(Value::Null),
                name => Token::Name(name.to_owned()),
            });
        } else if first.is_ascii_digit() {
            length = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            let number = serde_json::from_str(&rest[..length]);
            tokens.push(Token::Literal(
                number.map_err(|_| format!("no number: {}", &rest[..length]))?,
            ));
        } else if matches!(first, '"' | '\'') {
            let end = rest[1..].find(first).ok_or("a text without an end")?;
            let text = &rest[1..=end];
            if text.contains('\\') {
                return Err("escapes in texts are not implemented".into());
            }
            length = end + 2;
            tokens.push(Token::Literal(text.into()));
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("the rule is not understood at `{rest}`"))?;
            length = sign.len();
            tokens.push(Token::Sign(sign));
        }
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Expression, String> {
        let mut left = self.and()?;
        while self.take("||") {
            left = Expression::Or(left.into(), self.and()?.into());
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, String> {
        let mut left = self.comparison()?;
        while self.take("&&") {
            left = Expression::And(left.into(), self.comparison()?.into());
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Expression, String> {
        let left = self.unary()?;
        let signs = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        for (sign, comparison) in signs {
            if self.take(sign) {
                return Ok(Expression::Compare(left.into(), comparison, self.unary()?.into()));
            }
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, String> {
        if self.take("!") {
            return Ok(Expression::Not(self.unary()?.into()));
        }
        if self.take("(") {
            let inner = self.or()?;
            return if self.take(")") {
                Ok(inner)
            } else {
                Err("a parenthesis is not closed".into())
            };
        }
        let token = self
            .tokens
            .get(self.at)
            .cloned()
            .ok_or("the rule ends too early")?;
        self.at += 1;
        match token {
            Token::Literal(value) => Ok(Expression::Literal(value)),
            Token::Name(name) if name == "has" || name == "size" => {
                if !self.take("(") {
                    return Err(format!("{name} without a parenthesis"));
                }
                let inner = self.or()?;
                if !self.take(")") {
                    return Err(format!("{name} takes one field"));
                }
                match inner {
                    inner if name == "size" => Ok(Expression::Size(inner.into())),
                    Expression::Path(root, path) if !path.is_empty() => Ok(Expression::Has(root, path)),
                    _ => Err("has() takes a field".into()),
                }
            }
            Token::Name(name) => self.path(&name),
            Token::Sign(sign) => Err(format!("the rule is not understood at `{sign}`")),
        }
    }

    fn path(&mut self, root: &str) -> Result<Expression, String> {
        let root = match root {
            "self" => Root::New,
            "oldSelf" => Root::Old,
            other => return Err(format!("`{other}` is not implemented in rules")),
        };
        let mut path = Vec::new();
        while self.take(".") {
            match self.tokens.get(self.at) {
                Some(Token::Name(name)) => path.push(name.clone()),
                other => return Err(format!("the rule is not understood at {other:?}")),
            }
            self.at += 1;
            if matches!(self.tokens.get(self.at), Some(Token::Sign("("))) {
                let name = path.pop().unwrap_or_default();
                if name == "size" && self.take("(") && self.take(")") {
                    return Ok(Expression::Size(Expression::Path(root, path).into()));
                }
                return Err(format!("`{name}()` is not implemented in rules"));
            }
        }
        Ok(Expression::Path(root, path))
    }
}
