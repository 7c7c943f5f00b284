//! Problem details (RFC 9457): the body of every error answer of both services.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of [`Problem`].
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong with one request, for people and programs. Never holds a secret or an internal address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI reference that names the kind of problem, e.g. `https://kubernaut.ai/problems/validation-error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this kind, for people.
    pub title: String,
    /// What is wrong in this request and what was expected.
    pub detail: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The path of the request.
    pub instance: String,
    /// The `X-Request-ID` of the answer; the service's log lines of this request carry it too.
    pub request_id: String,
    /// Each wrong field, all at once; absent where the problem is not one of fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One wrong field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where: a path into the body such as `alerts[3].labels.alertname`, or the name of a query parameter or header.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Problem {
    /// A problem of `kind` (the last part of its type URI, such as `validation-error`). `instance` and `request_id`
    /// are filled in where the answer leaves the service.
    #[must_use]
    pub fn new(status: u16, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("https://kubernaut.ai/problems/{kind}"),
            title: title.to_owned(),
            detail: detail.into(),
            status,
            instance: String::new(),
            request_id: String::new(),
            errors: Vec::new(),
        }
    }

    /// The same problem with the fields that it is about.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }
}
