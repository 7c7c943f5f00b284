//! Reading JSON so that a mistake names its field, and checking lengths before the API server does.

use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;
use wire::problem::FieldError;
use wire::remediation_request::{MAX_NAME_LENGTH, MAX_TERM_LENGTH};

use super::signal::Signal;

/// The field of what is wrong as a whole.
const BODY: &str = "body";

/// Reads the object in `text`, or says at which field below `prefix` it is not what was expected.
pub(super) fn json<'a, T: Deserialize<'a>>(text: &'a [u8], prefix: &str) -> Result<T, FieldError> {
    // Without this an array would be read as the fields in their order.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(mistake(prefix, BODY, "is not a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // What is not JSON at all is at no field, and its place shows as a question mark.
        let path = error.path().to_string();
        let field = path.trim_end_matches(['?', '.']);
        let field = if field.is_empty() { BODY } else { field };
        match error.inner().classify() {
            Category::Data => mistake(prefix, field, error.inner().to_string()),
            _ => mistake(prefix, BODY, format!("is not JSON: {}", error.inner())),
        }
    })?;
    match deserializer.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(mistake(prefix, BODY, format!("is not JSON: {error}"))),
    }
}

/// As [`json`], of a part of a larger text.
pub(super) fn raw<'a, T: Deserialize<'a>>(text: &'a RawValue, prefix: &str) -> Result<T, FieldError> {
    json(text.get().as_bytes(), prefix)
}

/// A mistake at `field` of the object that stands at `prefix`.
pub(super) fn mistake(prefix: &str, field: &str, message: impl Into<String>) -> FieldError {
    let field = match (prefix, field) {
        ("", field) => field.to_owned(),
        (prefix, BODY) => prefix.to_owned(),
        (prefix, field) => format!("{prefix}.{field}"),
    };
    FieldError {
        field,
        message: message.into(),
    }
}

/// Collects what is longer than a request can hold; `field` tells where a part of the signal was read from.
pub(super) fn too_long(signal: &Signal, prefix: &str, fields: SignalFields<'_>) -> Vec<FieldError> {
    let parts = [
        (fields.name, &signal.name, MAX_NAME_LENGTH),
        (fields.kind, &signal.target.kind, MAX_TERM_LENGTH),
        (fields.target, &signal.target.name, MAX_NAME_LENGTH),
        (fields.namespace, &signal.target.namespace, MAX_TERM_LENGTH),
        (fields.source, &signal.source, MAX_TERM_LENGTH),
    ];
    parts
        .into_iter()
        .filter_map(|(field, value, limit)| {
            let length = value.chars().count();
            (length > limit).then(|| {
                mistake(
                    prefix,
                    field,
                    format!("{length} characters long; at most {limit}"),
                )
            })
        })
        .collect()
}

/// Where in a payload the parts of a signal stand.
#[derive(Clone, Copy)]
pub(super) struct SignalFields<'a> {
    pub(super) name: &'a str,
    pub(super) kind: &'a str,
    pub(super) target: &'a str,
    pub(super) namespace: &'a str,
    pub(super) source: &'a str,
}
