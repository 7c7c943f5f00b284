//! Patches: JSON, merge, strategic merge, apply.

pub mod apply;
mod fieldset;
mod json;
pub mod managed;
mod strategic;

use serde_json::Value;

use crate::resources::Resource;
use crate::status::Status;

/// The type of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own, which merges some lists.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl Kind {
    /// The type by content type.
    ///
    /// # Errors
    /// 415.
    pub fn of(content_type: &str, resource: &Resource) -> Result<Self, Status> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !resource.custom => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            "application/strategic-merge-patch+json" => {
                let accepted =
                    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                Err(Status::unsupported_media_type(accepted))
            }
            _ => {
                let details = Some(Box::default());
                Err(Status {
                    details,
                    ..Status::plain(415, "UnsupportedMediaType", "415: Unsupported Media Type")
                })
            }
        }
    }
}

/// A decoded patch.
#[derive(Debug)]
pub struct Patch {
    kind: Kind,
    value: Value,
    operations: json_patch::Patch,
}

impl Patch {
    /// Decodes a body.
    ///
    /// # Errors
    /// 400.
    pub fn read(kind: Kind, body: &[u8]) -> Result<Self, Status> {
        let none = json_patch::Patch(Vec::new());
        if kind == Kind::Apply {
            let text = String::from_utf8_lossy(body);
            let parsed: Result<Value, _> = serde_saphyr::from_str(&text);
            let value =
                parsed.map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
            return Ok(Self {
                kind,
                value,
                operations: none,
            });
        }
        let wrong = |what: String| Status::bad_request(format!("error decoding patch: {what}"));
        let value: Value = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
        if kind == Kind::Json {
            return Ok(Self {
                kind,
                operations: json::read(value)?,
                value: Value::Null,
            });
        }
        if !value.is_object() {
            let found = match value {
                Value::Array(_) => "array",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            return Err(wrong(format!(
                "json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
            )));
        }
        Ok(Self {
            kind,
            value,
            operations: none,
        })
    }

    /// The patch as sent.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Applies the patch to an object.
    ///
    /// # Errors
    /// 422 for a JSON patch that does not match the object, 400 for an invalid strategic one.
    pub fn apply(&self, resource: &Resource, current: &Value) -> Result<Value, Status> {
        match (self.kind, &resource.schema) {
            (Kind::Strategic, Some(shape)) => strategic::apply(shape, current, &self.value),
            _ => self.apply_plain(current),
        }
    }

    /// Applies the patch to a value without a shape.
    ///
    /// # Errors
    /// 422 for a JSON patch that does not match the value.
    pub fn apply_plain(&self, current: &Value) -> Result<Value, Status> {
        let mut patched = current.clone();
        match self.kind {
            Kind::Json => json::apply(&mut patched, &self.operations)?,
            _ => json_patch::merge(&mut patched, &self.value),
        }
        Ok(patched)
    }
}
