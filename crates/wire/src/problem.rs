//! Problem details (RFC 9457): the body of every error response of both services.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of [`Problem`].
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The error of one request, for people and programs. Never contains a secret or an internal address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI reference that identifies the problem type, e.g. `https://kubernaut.ai/problems/validation-error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The summary of the problem type, for people.
    pub title: String,
    /// The error in this request, and what was expected.
    pub detail: String,
    /// The HTTP status of the response.
    pub status: u16,
    /// The path of the request.
    pub instance: String,
    /// The `X-Request-ID` of the response; the service's log lines of this request contain it too.
    pub request_id: String,
    /// All invalid fields; absent for other problems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One invalid field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// A path into the body such as `alerts[3].labels.alertname`, or the name of a query parameter or header.
    pub field: String,
    /// The error, and what was expected.
    pub message: String,
}

impl Problem {
    /// Creates a problem of `kind` (the last segment of its type URI, such as `validation-error`). `instance` and
    /// `request_id` are set when the response leaves the service.
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
}
