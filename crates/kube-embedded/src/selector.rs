//! Label and field selectors.

use crate::resources::Resource;
use crate::resources::names::{label_value, qualified_name, quoted};
use crate::status::Status;
use crate::store::Entry;

/// A selection of objects.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    labels: Vec<LabelTerm>,
    fields: Vec<FieldTerm>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelTerm {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
    Greater(String, i64),
    Less(String, i64),
}

#[derive(Debug, Clone)]
struct FieldTerm {
    field: Field,
    value: String,
    equal: bool,
}

#[derive(Debug, Clone)]
enum Field {
    Name,
    Namespace,
    Kept(usize),
}

impl Selector {
    /// Parses `labelSelector` and `fieldSelector`.
    ///
    /// # Errors
    /// 400 for an invalid selector, or an unsupported field.
    pub fn parse(labels: &str, fields: &str, resource: &Resource) -> Result<Self, Status> {
        Ok(Self {
            labels: parse_labels(labels)?,
            fields: parse_fields(fields, resource)?,
        })
    }

    /// Whether it selects all objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The name, if it selects only this one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let named = self
            .fields
            .iter()
            .find(|term| term.equal && matches!(term.field, Field::Name));
        named.map(|term| term.value.as_str())
    }

    /// Whether it selects the object.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        self.labels.iter().all(|term| term.matches(entry))
            && self.fields.iter().all(|term| term.matches(entry))
    }
}

impl FieldTerm {
    fn matches(&self, entry: &Entry) -> bool {
        let value = match self.field {
            Field::Name => &*entry.key.name,
            Field::Namespace => &*entry.key.namespace,
            Field::Kept(index) => entry.fields.get(index).map_or("", |(_, value)| value),
        };
        (value == self.value) == self.equal
    }
}

impl LabelTerm {
    fn matches(&self, entry: &Entry) -> bool {
        let find = |wanted: &str| {
            entry
                .labels
                .iter()
                .find(|(key, _)| &**key == wanted)
                .map(|(_, value)| &**value)
        };
        let number = |key: &str| find(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(key, values) => find(key).is_some_and(|value| values.iter().any(|one| one == value)),
            Self::NotIn(key, values) => find(key).is_none_or(|value| values.iter().all(|one| one != value)),
            Self::Exists(key) => find(key).is_some(),
            Self::Missing(key) => find(key).is_none(),
            Self::Greater(key, bound) => number(key).is_some_and(|value| value > *bound),
            Self::Less(key, bound) => number(key).is_some_and(|value| value < *bound),
        }
    }
}

fn parse_fields(source: &str, resource: &Resource) -> Result<Vec<FieldTerm>, Status> {
    let mut terms = Vec::new();
    for part in source.split(',').filter(|part| !part.is_empty()) {
        let (label, equal, value) = if let Some((label, value)) = part.split_once("!=") {
            (label, false, value)
        } else if let Some((label, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            (label, true, value)
        } else {
            return Err(Status::bad_request(format!(
                "invalid selector: '{part}'; can't understand '{part}'"
            )));
        };
        let field = match label.trim() {
            "metadata.name" => Field::Name,
            "metadata.namespace" if resource.namespaced => Field::Namespace,
            label => match resource.fields.iter().position(|field| &*field.label == label) {
                Some(index) => Field::Kept(index),
                None => return Err(unknown_field(label, resource)),
            },
        };
        terms.push(FieldTerm {
            field,
            value: value.to_owned(),
            equal,
        });
    }
    Ok(terms)
}

fn unknown_field(label: &str, resource: &Resource) -> Status {
    if resource.custom || !resource.fields.is_empty() {
        return Status::bad_request(format!("field label not supported: {label}"));
    }
    let message = format!(
        "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        quoted(label)
    );
    Status::bad_request(message)
}

fn parse_labels(source: &str) -> Result<Vec<LabelTerm>, Status> {
    let mut parser = Parser {
        rest: source.trim_start(),
    };
    let mut terms = Vec::new();
    while !parser.rest.is_empty() {
        let term = parser
            .term()
            .map_err(|what| Status::bad_request(format!("unable to parse requirement: {what}")))?;
        terms.push(term);
        if parser.sign(",") {
            if parser.rest.is_empty() {
                return Err(Status::bad_request(
                    "unable to parse requirement: found '', expected: identifier after ','",
                ));
            }
        } else if !parser.rest.is_empty() {
            let what = format!(
                "unable to parse requirement: found '{}', expected: ',' or 'end of string'",
                parser.rest
            );
            return Err(Status::bad_request(what));
        }
    }
    Ok(terms)
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn sign(&mut self, sign: &str) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || "=!,()<>".contains(c))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn term(&mut self) -> Result<LabelTerm, String> {
        if self.sign("!") {
            return Ok(LabelTerm::Missing(key(self.word())?));
        }
        let key = key(self.word())?;
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok(LabelTerm::Exists(key));
        }
        if self.sign("!=") {
            return Ok(LabelTerm::NotIn(key, vec![value(self.word())?]));
        }
        if self.sign("==") || self.sign("=") {
            return Ok(LabelTerm::In(key, vec![value(self.word())?]));
        }
        for (sign, greater) in [(">", true), ("<", false)] {
            if self.sign(sign) {
                let bound = self.word();
                let bound = bound.parse().map_err(|_| format!("values[0][{key}]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer", quoted(bound)))?;
                return Ok(if greater {
                    LabelTerm::Greater(key, bound)
                } else {
                    LabelTerm::Less(key, bound)
                });
            }
        }
        match self.word() {
            "in" => Ok(LabelTerm::In(key, self.values()?)),
            "notin" => Ok(LabelTerm::NotIn(key, self.values()?)),
            found => Err(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        if !self.sign("(") {
            return Err(format!("found '{}' expected: '('", self.rest));
        }
        let mut values = Vec::new();
        loop {
            values.push(value(self.word())?);
            if self.sign(")") {
                return Ok(values);
            }
            if !self.sign(",") {
                return Err(format!("found '{}', expected: ',' or ')'", self.rest));
            }
        }
    }
}

fn key(word: &str) -> Result<String, String> {
    match qualified_name(word).first() {
        None => Ok(word.to_owned()),
        Some(what) => Err(format!("<nil>: Invalid value: {}: {what}", quoted(word))),
    }
}

fn value(word: &str) -> Result<String, String> {
    match label_value(word).first() {
        None => Ok(word.to_owned()),
        Some(what) => Err(format!("<nil>: Invalid value: {}: {what}", quoted(word))),
    }
}
