//! Reads the fields of a JSON object and collects all errors.

use std::borrow::Cow;

use serde_json::value::RawValue;
use uuid::Uuid;
use wire::problem::FieldError;

use super::members::{Members, Text, kind_of};
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
    /// Its name; of an unknown one, the beginning of what was sent.
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

/// Maximum fields of an object: more than any object has.
const MAX_FIELDS: usize = 64;

/// An object whose fields are taken one by one; remaining fields are unknown.
pub(crate) struct Fields<'a> {
    object: Vec<(Cow<'a, str>, &'a RawValue)>,
    invalid: Vec<Invalid>,
}

impl<'a> Fields<'a> {
    /// The fields of the JSON object in `text`. A field that occurs twice is an error: readers would disagree on its
    /// value.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, Vec<Invalid>> {
        let rejected = |reason, message| vec![Invalid::new("body", reason, message)];
        let value: &RawValue = serde_json::from_slice(text)
            .map_err(|error| rejected(Reason::Format, format!("is not JSON: {error}")))?;
        if !value.get().starts_with('{') {
            return Err(rejected(
                Reason::Type,
                format!("is {}; expected an object", kind_of(value)),
            ));
        }
        let Members { members, count } = serde_json::from_str::<Members<'_, MAX_FIELDS>>(value.get())
            .map_err(|error| rejected(Reason::Format, format!("is not JSON: {error}")))?;
        if count > members.len() {
            return Err(rejected(
                Reason::Unknown,
                format!("has {count} fields; expected at most {MAX_FIELDS}"),
            ));
        }
        let mut fields = Self {
            object: Vec::with_capacity(members.len()),
            invalid: Vec::new(),
        };
        for (name, value) in members {
            if fields.object.iter().any(|(known, _)| *known == name) {
                fields.reject(&beginning(&name), Reason::Unknown, "occurs twice; remove one");
            } else {
                fields.object.push((name, value));
            }
        }
        Ok(fields)
    }

    /// A field's value. Null counts as absent.
    fn value(&mut self, field: &str) -> Option<&'a RawValue> {
        let index = self.object.iter().position(|(name, _)| name == field)?;
        let (_, value) = self.object.swap_remove(index);
        (value.get() != "null").then_some(value)
    }

    /// A string. `Err` if it is something else, which is recorded.
    fn string(&mut self, field: &str, expected: &str) -> Result<Option<Cow<'a, str>>, ()> {
        let Some(value) = self.value(field) else {
            return Ok(None);
        };
        if !value.get().starts_with('"') {
            let message = format!("is {}; expected {expected}", kind_of(value));
            self.reject(field, Reason::Type, message);
            return Err(());
        }
        match serde_json::from_str::<Text<'a>>(value.get()) {
            Ok(Text(text)) => Ok(Some(text)),
            Err(error) => {
                self.reject(field, Reason::Format, format!("is not Unicode text: {error}"));
                Err(())
            }
        }
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
        let text = match self.string(field, "a string") {
            Ok(Some(text)) => text,
            Ok(None) => return Taken::Absent,
            Err(()) => return Taken::Rejected,
        };
        // There are at least as many bytes as characters: counting is needed near the limit only.
        let characters = if text.len() > max {
            text.chars().count()
        } else {
            text.len()
        };
        if characters > max {
            let message = format!("has {characters} characters; expected at most {max}");
            self.reject(field, Reason::Length, message);
            Taken::Rejected
        } else if text.contains('\0') {
            self.reject(field, Reason::Format, "contains U+0000, which cannot be stored");
            Taken::Rejected
        } else {
            Taken::Value(text.into_owned())
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
        match self.string(field, &format!("one of {}", names())) {
            Ok(None) => {
                self.reject(
                    field,
                    Reason::Required,
                    format!("is required; one of {}", names()),
                );
                None
            }
            Ok(Some(text)) => {
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
            Err(()) => None,
        }
    }

    /// An optional string out of a list.
    pub(crate) fn optional_choice<T: Copy>(
        &mut self,
        field: &str,
        choices: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let is_present = self
            .object
            .iter()
            .any(|(known, value)| known == field && value.get() != "null");
        if is_present {
            self.choice(field, choices, name)
        } else {
            self.take(field);
            None
        }
    }

    /// A UUID.
    pub(crate) fn optional_uuid(&mut self, field: &str) -> Option<Uuid> {
        let text = self.string(field, "a UUID").ok()??;
        let id = Uuid::parse_str(&text).ok();
        if id.is_none() {
            let message = format!("is {}; expected a UUID", shown(&text));
            self.reject(field, Reason::Format, message);
        }
        id
    }

    /// A required time in RFC 3339.
    pub(crate) fn required_time(&mut self, field: &str) -> Option<Micros> {
        let Some(text) = self.string(field, "a time in RFC 3339").ok()? else {
            self.reject(field, Reason::Required, "is required; a time in RFC 3339");
            return None;
        };
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

    /// An integer from `min` to `max`.
    pub(crate) fn optional_integer(&mut self, field: &str, min: i32, max: i32) -> Option<i32> {
        let value = self.value(field)?;
        if kind_of(value) != "a number" {
            let message = format!("is {}; expected a whole number", kind_of(value));
            self.reject(field, Reason::Type, message);
            return None;
        }
        let integer = value
            .get()
            .parse()
            .ok()
            .filter(|integer| (min..=max).contains(integer));
        if integer.is_none() {
            let message = format!(
                "is {}; expected a whole number from {min} to {max}",
                beginning(value.get())
            );
            self.reject(field, Reason::Range, message);
        }
        integer
    }

    /// A required object.
    pub(crate) fn required_object(&mut self, field: &str) -> Option<&'a RawValue> {
        let Some(value) = self.value(field) else {
            self.reject(field, Reason::Required, "is required; an object");
            return None;
        };
        if !value.get().starts_with('{') {
            let message = format!("is {}; expected an object", kind_of(value));
            self.reject(field, Reason::Type, message);
            return None;
        }
        Some(value)
    }

    /// A value of any kind.
    pub(crate) fn take(&mut self, field: &str) -> Option<&'a RawValue> {
        self.value(field)
    }

    /// Rejects remaining fields; then returns all errors, if any.
    pub(crate) fn finish(mut self) -> Result<(), Vec<Invalid>> {
        for (field, _) in &self.object {
            self.invalid.push(Invalid::new(
                &beginning(field),
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

/// The beginning of a text, quoted; a long text is useless in a message.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The beginning of a text.
pub(crate) fn beginning(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

const MAX_SHOWN: usize = 60;
