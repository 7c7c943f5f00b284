//! Errors of the API: a `Status` with code, reason, details and causes.

use serde_json::{Map, Value, json};

/// An error response. `body()` is its body.
#[derive(Debug, Clone)]
pub struct Status {
    /// HTTP status.
    pub code: u16,
    /// Machine-readable reason; empty where the real server gives none.
    pub reason: &'static str,
    /// Message for people.
    pub message: String,
    /// The object of the error; `None` omits `details`.
    pub details: Option<Box<Details>>,
}

/// The object of an error.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// Name of the object.
    pub name: String,
    /// Its API group.
    pub group: String,
    /// Its kind, or its resource's plural name.
    pub kind: String,
    /// Its uid; only in responses to deletion and for unmet preconditions.
    pub uid: String,
    /// One entry per invalid field.
    pub causes: Vec<Cause>,
    /// Seconds after which to retry; also sent as the header `Retry-After`.
    pub retry_after_seconds: Option<u64>,
}

/// One invalid field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// For instance `FieldValueRequired`.
    pub reason: &'static str,
    /// For instance `Required value`.
    pub message: String,
    /// For instance `spec.containers[0].name`.
    pub field: String,
}

impl Cause {
    /// A field that is missing.
    #[must_use]
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() {
            "Required value".into()
        } else {
            format!("Required value: {detail}")
        };
        Self {
            reason: "FieldValueRequired",
            message,
            field: field.into(),
        }
    }

    /// A value that violates a rule. `value` as Go prints it: strings quoted.
    #[must_use]
    pub fn invalid(field: impl Into<String>, value: &str, detail: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value}: {detail}"),
            field: field.into(),
        }
    }

    /// A value of the wrong type; `shown` is its type.
    #[must_use]
    pub fn wrong_type(field: impl Into<String>, shown: &str, detail: &str) -> Self {
        Self {
            reason: "FieldValueTypeInvalid",
            ..Self::invalid(field, &format!("\"{shown}\""), detail)
        }
    }

    /// A value that is not one of the allowed ones.
    #[must_use]
    pub fn not_supported(field: impl Into<String>, value: &str, supported: &[String]) -> Self {
        let message = format!(
            "Unsupported value: {value}: supported values: {}",
            supported.join(", ")
        );
        Self {
            reason: "FieldValueNotSupported",
            message,
            field: field.into(),
        }
    }

    /// A field that must not be set.
    #[must_use]
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self {
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {detail}"),
            field: field.into(),
        }
    }

    /// A duplicate value where it must be unique.
    #[must_use]
    pub fn duplicate(field: impl Into<String>, value: &str) -> Self {
        Self {
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {value}"),
            field: field.into(),
        }
    }

    /// A value over the limit of its size in bytes.
    #[must_use]
    pub fn too_long(field: impl Into<String>, max_bytes: usize) -> Self {
        Self {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {max_bytes} bytes"),
            field: field.into(),
        }
    }

    fn body(&self) -> Value {
        let parts = [
            ("reason", self.reason),
            ("message", &self.message),
            ("field", &self.field),
        ];
        let parts = parts.into_iter().filter(|(_, text)| !text.is_empty());
        parts
            .map(|(key, text)| (key.to_owned(), text.into()))
            .collect::<Map<_, Value>>()
            .into()
    }

    fn shown(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }
}

/// Group, plural name and kind: the names of a resource in error messages.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// API group; empty for the core.
    pub group: &'a str,
    /// Plural name.
    pub plural: &'a str,
    /// Kind.
    pub kind: &'a str,
}

impl About<'_> {
    fn qualified(&self, name: &str) -> String {
        if self.group.is_empty() {
            name.to_owned()
        } else {
            format!("{name}.{}", self.group)
        }
    }
}

impl Status {
    /// A failure without details.
    #[must_use]
    pub fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 500: an error of this server, or a 500 of the real one.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::plain(500, "InternalError", message)
    }

    /// 501: the real server implements it and this one does not.
    #[must_use]
    pub fn not_implemented(what: impl Into<String>) -> Self {
        let what = what.into();
        tracing::warn!(what, "rejected: not implemented");
        Self::plain(
            501,
            "NotImplemented",
            format!("kube-embedded does not implement this: {what}"),
        )
    }

    /// 404 for an object.
    #[must_use]
    pub fn not_found(about: About<'_>, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", about.qualified(about.plural));
        Self::plain(404, "NotFound", message).about(about.group, about.plural, name)
    }

    /// 404 for a resource that the server does not serve.
    #[must_use]
    pub fn no_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self {
            details: Some(Box::default()),
            ..Self::plain(404, "NotFound", message)
        }
    }

    /// 405.
    #[must_use]
    pub fn no_method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self {
            details: Some(Box::default()),
            ..Self::plain(405, "MethodNotAllowed", message)
        }
    }

    /// 409 for an existing name.
    #[must_use]
    pub fn already_exists(about: About<'_>, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", about.qualified(about.plural));
        Self::plain(409, "AlreadyExists", message).about(about.group, about.plural, name)
    }

    /// 409 for a write that is based on another version.
    #[must_use]
    pub fn conflict(about: About<'_>, name: &str, why: &str) -> Self {
        let plural = about.qualified(about.plural);
        Self::plain(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {plural} \"{name}\": {why}"),
        )
        .about(about.group, about.plural, name)
    }

    /// 409 for a stale resourceVersion.
    #[must_use]
    pub fn modified(about: About<'_>, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(about, name, why)
    }

    /// 422 with one cause per invalid field.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let mut shown: Vec<String> = Vec::new();
        for cause in causes.iter().map(Cause::shown) {
            if !shown.contains(&cause) {
                shown.push(cause);
            }
        }
        let list = match shown.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = About {
            group,
            plural: kind,
            kind,
        }
        .qualified(kind);
        let mut status = Self::plain(
            422,
            "Invalid",
            format!("{qualified} \"{name}\" is invalid: {list}"),
        );
        status = status.about(group, kind, name);
        if let Some(details) = &mut status.details {
            details.causes = causes;
        }
        status
    }

    /// 403.
    #[must_use]
    pub fn forbidden(about: About<'_>, name: &str, why: &str) -> Self {
        let object = if name.is_empty() {
            String::new()
        } else {
            format!(" \"{name}\"")
        };
        let message = format!("{}{object} is forbidden: {why}", about.qualified(about.plural));
        Self::plain(403, "Forbidden", message).about(about.group, about.plural, name)
    }

    /// 410: no longer available.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    /// 415.
    #[must_use]
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::plain(415, "UnsupportedMediaType", message)
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, cause: Cause) -> Self {
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    /// Sets the object of the error.
    #[must_use]
    pub fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let details = self.details.get_or_insert_default();
        (details.group, details.kind, details.name) = (group.to_owned(), kind.to_owned(), name.to_owned());
        self
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if let Some(body) = body.as_object_mut() {
            if !self.reason.is_empty() {
                body.insert("reason".into(), self.reason.into());
            }
            if let Some(details) = &self.details {
                body.insert("details".into(), details.body());
            }
        }
        body
    }
}

impl Details {
    /// The `details` of a `Status`.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut map = Map::new();
        for (key, value) in [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
            ("uid", &self.uid),
        ] {
            if !value.is_empty() {
                map.insert(key.into(), value.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            let causes = self.causes.iter();
            map.insert("causes".into(), causes.map(Cause::body).collect());
        }
        if let Some(seconds) = self.retry_after_seconds {
            map.insert("retryAfterSeconds".into(), seconds.into());
        }
        map.into()
    }
}
