//! Parses JSON so that an error names its field, and checks lengths before the API server does.

use serde::Deserialize;
use serde_json::error::Category;
use wire::problem::FieldError;
use wire::remediation_request::{MAX_NAME_LENGTH, MAX_TERM_LENGTH};

use super::signal::Signal;

/// Maximum bytes of a field or of a message: the sender's text may be in it.
const MAX_ERROR_BYTES: usize = 300;
/// The field of an error about the whole body.
const BODY: &str = "body";

/// Parses the object in `text`; an error names the field below `prefix`.
pub(super) fn json<'a, T: Deserialize<'a>>(text: &'a [u8], prefix: &str) -> Result<T, FieldError> {
    // Without this an array would be parsed as the fields in their order.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(field_error(prefix, BODY, "is not a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // Text that is not JSON has no field; its path is a question mark.
        let path = error.path().to_string();
        let field = path.trim_end_matches(['?', '.']);
        let field = if field.is_empty() { BODY } else { field };
        match error.inner().classify() {
            Category::Data => field_error(prefix, field, error.inner().to_string()),
            _ => field_error(prefix, BODY, format!("is not JSON: {}", error.inner())),
        }
    })?;
    match deserializer.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(field_error(prefix, BODY, format!("is not JSON: {error}"))),
    }
}

/// An error at `field` of the object at `prefix`. The payload's own text in it is shortened.
pub(super) fn field_error(prefix: &str, field: &str, message: impl Into<String>) -> FieldError {
    let field = shortened(field.into());
    let field = match (prefix, &*field) {
        ("", _) => field,
        (prefix, BODY) => prefix.to_owned(),
        (prefix, field) => format!("{prefix}.{field}"),
    };
    FieldError {
        field,
        message: shortened(message.into()),
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_ERROR_BYTES {
        text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

/// Collects values that are longer than a request's limits; `field` maps a part of the signal to its source.
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
                field_error(
                    prefix,
                    field,
                    format!("has {length} characters; at most {limit} are allowed"),
                )
            })
        })
        .collect()
}

/// The sources of a signal's parts in a payload.
#[derive(Clone, Copy)]
pub(super) struct SignalFields<'a> {
    pub(super) name: &'a str,
    pub(super) kind: &'a str,
    pub(super) target: &'a str,
    pub(super) namespace: &'a str,
    pub(super) source: &'a str,
}
