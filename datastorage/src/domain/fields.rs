//! Reads the fields of a JSON object and collects all errors.

use serde_json::{Map, Value};
use uuid::Uuid;
use wire::problem::FieldError;

use super::time::Micros;

/// Why a field is rejected; the label of a metric, so few and fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    Required,
    Type,
    Length,
    Range,
    Choice,
    Format,
    Unknown,
}

impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Type => "type",
            Self::Length => "length",
            Self::Range => "range",
            Self::Choice => "choice",
            Self::Format => "format",
            Self::Unknown => "unknown",
        }
    }
}

/// An invalid field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// Its name; of an unknown one, as it was sent.
    pub(crate) field: String,
    pub(crate) reason: Reason,
    /// What was expected.
    pub(crate) message: String,
}

impl Invalid {
    pub(crate) fn new(field: &str, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            reason,
            message: message.into(),
        }
    }

    /// As in the response.
    pub(crate) fn to_wire(&self) -> FieldError {
        FieldError {
            field: self.field.clone(),
            message: self.message.clone(),
        }
    }
}

/// An object whose fields are taken one by one; remaining fields are unknown.
pub(crate) struct Fields {
    object: Map<String, Value>,
    invalid: Vec<Invalid>,
}

impl Fields {
    /// The fields of `value`, which must be an object.
    pub(crate) fn of(value: Value) -> Result<Self, Vec<Invalid>> {
        match value {
            Value::Object(object) => Ok(Self {
                object,
                invalid: Vec::new(),
            }),
            other => Err(vec![Invalid::new(
                "body",
                Reason::Type,
                format!("is {}; expected an object", kind_of(&other)),
            )]),
        }
    }

    /// The fields of the JSON object in `text`.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Invalid>> {
        let value = serde_json::from_str(text).map_err(|error| {
            vec![Invalid::new(
                "body",
                Reason::Format,
                format!("is not JSON: {error}"),
            )]
        })?;
        Self::of(value)
    }

    /// Records an error of a field.
    pub(crate) fn reject(&mut self, field: &str, reason: Reason, message: impl Into<String>) {
        self.invalid.push(Invalid::new(field, reason, message));
    }

    /// A required string of 1 to `max` characters.
    pub(crate) fn required_text(&mut self, field: &str, max: usize) -> String {
        match self.text(field, max) {
            Taken::Value(text) if text.is_empty() => {
                self.reject(field, Reason::Required, "is empty; expected 1 or more characters");
                text
            }
            Taken::Value(text) => text,
            Taken::Absent => {
                self.reject(field, Reason::Required, "is required");
                String::new()
            }
            Taken::Rejected => String::new(),
        }
    }

    /// A string of at most `max` characters; null and the empty string count as absent.
    pub(crate) fn optional_text(&mut self, field: &str, max: usize) -> Option<String> {
        match self.text(field, max) {
            Taken::Value(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn text(&mut self, field: &str, max: usize) -> Taken<String> {
        match self.object.remove(field) {
            None | Some(Value::Null) => Taken::Absent,
            Some(Value::String(text)) => {
                // There are at least as many bytes as characters: counting is needed near the limit only.
                let characters = if text.len() > max {
                    text.chars().count()
                } else {
                    text.len()
                };
                if characters > max {
                    let message = format!("has {characters} characters; expected at max {max}");
                    self.reject(field, Reason::Length, message);
                    Taken::Rejected
                } else if text.contains('\0') {
                    self.reject(field, Reason::Format, "contains U+0000, which cannot be stored");
                    Taken::Rejected
                } else {
                    Taken::Value(text)
                }
            }
            Some(other) => {
                self.reject(
                    field,
                    Reason::Type,
                    format!("is {}; expected a string", kind_of(&other)),
                );
                Taken::Rejected
            }
        }
    }

    /// A required string out of a list.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        field: &str,
        choices: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let names = || {
            choices
                .iter()
                .map(|choice| name(*choice))
                .collect::<Vec<_>>()
                .join(", ")
        };
        match self.object.remove(field) {
            None | Some(Value::Null) => {
                self.reject(
                    field,
                    Reason::Required,
                    format!("is required; one of {}", names()),
                );
                None
            }
            Some(Value::String(text)) => {
                let found = choices.iter().copied().find(|choice| name(*choice) == text);
                if found.is_none() {
                    self.reject(
                        field,
                        Reason::Choice,
                        format!("is {}; expected one of {}", shown(&text), names()),
                    );
                }
                found
            }
            Some(other) => {
                let message = format!("is {}; expected one of {}", kind_of(&other), names());
                self.reject(field, Reason::Type, message);
                None
            }
        }
    }

    /// An optional string out of a list.
    pub(crate) fn optional_choice<T: Copy>(
        &mut self,
        field: &str,
        choices: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        if self.object.get(field).is_none_or(Value::is_null) {
            self.object.remove(field);
            return None;
        }
        self.choice(field, choices, name)
    }

    /// A UUID.
    pub(crate) fn optional_uuid(&mut self, field: &str) -> Option<Uuid> {
        match self.object.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => {
                let id = Uuid::parse_str(&text).ok();
                if id.is_none() {
                    self.reject(
                        field,
                        Reason::Format,
                        format!("is {}; expected a UUID", shown(&text)),
                    );
                }
                id
            }
            Some(other) => {
                self.reject(
                    field,
                    Reason::Type,
                    format!("is {}; expected a UUID", kind_of(&other)),
                );
                None
            }
        }
    }

    /// A required time in RFC 3339.
    pub(crate) fn required_time(&mut self, field: &str) -> Option<Micros> {
        match self.object.remove(field) {
            None | Some(Value::Null) => {
                self.reject(field, Reason::Required, "is required; a time in RFC 3339");
                None
            }
            Some(Value::String(text)) => {
                let time = Micros::parse(&text);
                if time.is_none() {
                    let message = format!(
                        "is {}; expected a time in RFC 3339 such as 2026-01-31T12:00:00Z",
                        shown(&text)
                    );
                    self.reject(field, Reason::Format, message);
                }
                time
            }
            Some(other) => {
                self.reject(
                    field,
                    Reason::Type,
                    format!("is {}; expected a time in RFC 3339", kind_of(&other)),
                );
                None
            }
        }
    }

    /// An integer from `min` to `max`.
    pub(crate) fn optional_integer(&mut self, field: &str, min: i32, max: i32) -> Option<i32> {
        match self.object.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::Number(number)) => {
                let integer = number
                    .as_i64()
                    .and_then(|integer| i32::try_from(integer).ok())
                    .filter(|integer| (min..=max).contains(integer));
                if integer.is_none() {
                    let message = format!("is {number}; expected a whole number from {min} to {max}");
                    self.reject(field, Reason::Range, message);
                }
                integer
            }
            Some(other) => {
                self.reject(
                    field,
                    Reason::Type,
                    format!("is {}; expected a whole number", kind_of(&other)),
                );
                None
            }
        }
    }

    /// A required object.
    pub(crate) fn required_object(&mut self, field: &str) -> Option<Value> {
        match self.object.remove(field) {
            None | Some(Value::Null) => {
                self.reject(field, Reason::Required, "is required; an object");
                None
            }
            Some(value @ Value::Object(_)) => Some(value),
            Some(other) => {
                self.reject(
                    field,
                    Reason::Type,
                    format!("is {}; expected an object", kind_of(&other)),
                );
                None
            }
        }
    }

    /// A value of any kind.
    pub(crate) fn take(&mut self, field: &str) -> Option<Value> {
        self.object.remove(field)
    }

    /// Rejects remaining fields; then returns all errors, if any.
    pub(crate) fn finish(mut self) -> Result<(), Vec<Invalid>> {
        for field in self.object.keys() {
            self.invalid.push(Invalid::new(
                field,
                Reason::Unknown,
                "is not a field of this object; remove it",
            ));
        }
        if self.invalid.is_empty() {
            Ok(())
        } else {
            Err(self.invalid)
        }
    }
}

enum Taken<T> {
    Value(T),
    Absent,
    Rejected,
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The beginning of a text, quoted; a long text is useless in a message.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
